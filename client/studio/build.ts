/**
 * The studio's build: one page, the engine's worker and the service worker, as static files for any host.
 */

import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin, UserConfig } from 'vite'
import { type AssetsOptions, isolationHeaders, zoetropeAssets } from './assets.ts'
import { manifestSigner } from './signing.ts'

const here = fileURLToPath(new URL('.', import.meta.url))

export interface StudioOptions extends AssetsOptions {
  readonly outDir?: string
}

/** Vite's configuration for the studio; the page trusts the key that signs its weights. */
export async function studioConfig({
  outDir = join(here, 'dist'),
  ...assets
}: StudioOptions = {}): Promise<UserConfig> {
  const signer = await manifestSigner(process.env)
  return {
    root: here,
    define: { __MANIFEST_KEYS__: JSON.stringify([signer.publicKey]) },
    plugins: [zoetropeAssets({ signer, ...assets }), inventory()],
    worker: { format: 'es' },
    server: { host: '127.0.0.1', headers: isolationHeaders },
    preview: { host: '127.0.0.1', headers: isolationHeaders },
    build: {
      outDir,
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: { polyfill: false },
      // Inlined they would need a data: source in the policy.
      assetsInlineLimit: 0,
      // Compressing 30 MB of wasm only to print a number takes a minute.
      reportCompressedSize: false,
      rollupOptions: {
        input: { index: join(here, 'index.html'), sw: join(here, 'service-worker.ts') },
        output: { entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
      },
    },
  }
}

/** inventory.json: the page's own files for the service worker, without runtime and models. */
function inventory(): Plugin {
  return {
    name: 'zoetrope-inventory',
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        const own = Object.keys(bundle).filter((file) => !/^(runtime|models)\/|^sw\.js$|^index\.html$/.test(file))
        const files = ['/', '/icon.svg', '/manifest.webmanifest', ...own.map((file) => `/${file}`)].sort()
        const page = Object.values(bundle).map((file) => (file.type === 'chunk' ? file.code : String(file.fileName)))
        const build = createHash('sha256').update(page.join('\n')).digest('hex').slice(0, 16)
        this.emitFile({ type: 'asset', fileName: 'inventory.json', source: JSON.stringify({ build, files }) })
      },
    },
  }
}
