/**
 * The SDK's build: plain modules for a script tag or any bundler, the engine's worker beside them.
 */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { UserConfig } from 'vite'

const here = fileURLToPath(new URL('.', import.meta.url))

/** Vite's configuration for the SDK; `entries` are files of this folder by the name they get. */
export function sdkConfig(entries: readonly string[] = ['index', 'video-element', 'webhook', 'ai-sdk']): UserConfig {
  return {
    root: here,
    // Beside the module, wherever that is served.
    base: './',
    worker: { format: 'es' },
    publicDir: false,
    build: {
      outDir: join(here, '..', 'dist', 'sdk'),
      emptyOutDir: true,
      target: 'es2022',
      reportCompressedSize: false,
      lib: {
        entry: Object.fromEntries(entries.map((name) => [name, join(here, `${name}.ts`)])),
        formats: ['es'],
      },
    },
  }
}
