/**
 * The test projects.
 */

import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'
import { testBindings } from './test/edge-settings.ts'

export default defineConfig({
  test: {
    projects: [
      {
        // Everything that runs in Node, the runtimes included. One file at a time: ORT takes all cores by itself.
        test: {
          name: 'node',
          include: ['shared/**/*.test.ts', 'models/**/*.test.ts', 'test/**/*.test.ts'],
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // The Worker, in workerd itself: its Durable Objects, SQLite, R2 and alarms are the platform's own.
        plugins: [
          cloudflareTest({ wrangler: { configPath: './wrangler.toml' }, miniflare: { bindings: testBindings } }),
        ],
        test: { name: 'worker', include: ['worker/**/*.test.ts'], isolate: false, maxWorkers: 1, testTimeout: 60_000 },
      },
    ],
  },
})
