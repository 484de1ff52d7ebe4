/**
 * The test projects.
 */

import { defineConfig } from 'vitest/config'
import { browserProjects } from './test/browser-project.ts'

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
          testTimeout: 60_000,
        },
      },
      {
        // The Worker, through the app's own request(): web standards only.
        test: { name: 'worker', include: ['worker/**/*.test.ts'] },
      },
      // The client in a real browser: WebGPU, OPFS, WebCodecs and Web Workers exist nowhere else.
      ...browserProjects(),
    ],
  },
})
