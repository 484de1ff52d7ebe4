/**
 * The test projects.
 */

import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'
import { browserProjects } from './test/browser-project.ts'
import { testBindings } from './test/edge-settings.ts'

export default defineConfig({
  test: {
    projects: [
      {
        // Everything that runs in Node, the runtimes included. One file at a time: ORT takes all cores by itself.
        test: {
          name: 'node',
          include: ['shared/**/*.test.ts', 'models/**/*.test.ts', 'test/**/*.test.ts', 'client/**/*.test.ts'],
          exclude: ['**/*.browser.test.ts', '**/*.e2e.test.ts', '**/*.gpu.test.ts', '**/node_modules/**'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // The Worker, in workerd itself: its Durable Objects, SQLite, R2 and alarms are the platform's own.
        plugins: [
          cloudflareTest({ wrangler: { configPath: './wrangler.toml' }, miniflare: { bindings: testBindings } }),
        ],
        test: {
          name: 'worker',
          include: ['worker/**/*.test.ts'],
          isolate: false,
          maxWorkers: 1,
          testTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      // The client in a real browser: WebGPU, OPFS, WebCodecs and Web Workers exist nowhere else.
      ...browserProjects(),
    ],
  },
})
