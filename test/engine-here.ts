/**
 * The browser's engine in this process, on wasm: a device for tests in Node, and the site its files come from.
 *
 * Engine, store, library, checkpoints and runtime are those of a page; only the thread is left out, and files are in
 * memory since there is no OPFS. MP4 and WebM need WebCodecs, so clips here are GIFs.
 */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { createEngine } from '../client/engine.ts'
import type { EngineThread } from '../client/engine-thread.ts'
import type { Threads } from '../client/local.ts'
import { indexOf } from '../client/studio/assets.ts'
import type { ModelCard } from '../shared/manifest.ts'
import type { DeviceReport } from '../shared/request.ts'
import { root } from './sources.ts'
import { type StaticServer, staticServer } from './static-server.ts'

/** Serves a folder of cards/ and weights/ as a page's models are served. The first id is the standard one. */
export async function modelSite(folder: string, ids: readonly [string, ...string[]]): Promise<StaticServer> {
  await writeFile(join(folder, 'index.json'), indexOf(ids[0], [...ids]))
  return staticServer(folder)
}

/** An engine on wasm whose models are at an address; a new one has nothing in its store. */
export function engineHere(modelsUrl: string): EngineThread {
  const engine = createEngine({
    provider: 'wasm',
    runtimeUrl: pathToFileURL(join(root, 'node_modules', 'onnxruntime-web', 'dist', '/')).href,
    modelsUrl,
    threads: 1,
    manifestKeys: [],
  })
  const rehearse: EngineThread['rehearse'] = (model, signal) => engine.rehearse(model, signal, () => {})
  return { ...engine, rehearse, [Symbol.dispose]: () => {} }
}

export const threadsHere = (thread: EngineThread): Threads => ({ first: 'wasm', get: () => thread, drop: () => {} })

/** A machine with room and a network. */
export const deviceHere = async (): Promise<DeviceReport> => ({
  adapter_class: 'none',
  features: [],
  limits: {},
  cross_origin_isolated: false,
  wasm_threads: false,
  storage_free_bytes: 1e9,
  online: true,
  models: [],
})

export const cardIn = async (folder: string, id: string): Promise<ModelCard> =>
  JSON.parse(await readFile(join(folder, 'cards', `${id}.json`), 'utf8')) as ModelCard
