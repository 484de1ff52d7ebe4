/**
 * What the studio serves beside its bundle: the runtime's files and the released models, as plain static files.
 *
 * A Vite plugin: in development and under test it answers requests, in a build it copies. /runtime/ comes from
 * onnxruntime-web as it is, /models/ from models/cards and models/weights with an index of the cards and a signed
 * manifest of weights, cards and index. The asyncify build is left out: it is above the 25 MiB that static hosts allow for
 * one asset.
 */

import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Connect, Plugin } from 'vite'
import {
  type ChunkedFile,
  chunkedFile,
  type SignedDocument,
  signedDocument,
  signWeightsManifest,
} from '../../shared/weights-manifest.ts'
import { runtimeFiles } from '../runtime-files.ts'
import type { ManifestSigner } from './signing.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const runtimeFolder = join(root, 'node_modules', 'onnxruntime-web', 'dist')
const standardModel = 'zt-nano'
const contentTypes: Readonly<Record<string, string>> = {
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.safetensors': 'application/octet-stream',
}

/** A file by its address below the site's root; the bytes are read when asked for. */
export type Assets = ReadonlyMap<string, () => Promise<Uint8Array | string>>

export interface AssetsOptions {
  /** Further files, which take the place of those at the same address. */
  readonly more?: () => Promise<Assets>
  /** Who signs the manifest of the weights; it is unsigned where left out. */
  readonly signer?: ManifestSigner
}

/** Serves and emits the runtime, the released models and whatever else is given. */
export function zoetropeAssets({ more = async () => new Map(), signer }: AssetsOptions = {}): Plugin {
  let manifest: Promise<string> | undefined
  const all = async (): Promise<Assets> => {
    const found = new Map([...runtimeAssets(), ...(await modelAssets()), ...(await more())])
    // Hashed when first asked for: a page that never downloads need not wait for it.
    return found.set('/models/manifest.json', () => {
      manifest ??= manifestOf(found, signer)
      return manifest
    })
  }
  return {
    name: 'zoetrope-assets',
    // Under /models/ the development server would find the sources of that folder.
    configureServer: ({ middlewares }) => void middlewares.use(serving(all)),
    configurePreviewServer: ({ middlewares }) => void middlewares.use(isolated),
    async generateBundle() {
      for (const [address, read] of await all())
        this.emitFile({ type: 'asset', fileName: address.slice(1), source: await read() })
    },
  }
}

function runtimeAssets(): Assets {
  const files = [runtimeFiles.jspi, runtimeFiles.wasm].flatMap((build) => Object.values(build))
  return new Map(files.map((file) => [`/runtime/${file}`, () => readFile(join(runtimeFolder, file))]))
}

async function modelAssets(): Promise<Assets> {
  const [cards, weights] = [join(root, 'models', 'cards'), join(root, 'models', 'weights')]
  const names = existsSync(cards) ? (await readdir(cards)).filter((file) => file.endsWith('.json')).sort() : []
  const ids = names.map((file) => basename(file, '.json'))
  const index = indexOf(ids.includes(standardModel) ? standardModel : (ids[0] ?? standardModel), ids)
  const files = (await readdir(weights)).filter((file) => file.endsWith('.safetensors'))
  return new Map<string, () => Promise<Uint8Array | string>>([
    ['/models/index.json', async () => index],
    ...names.map((file) => [`/models/cards/${file}`, () => readFile(join(cards, file))] as const),
    ...files.map((file) => [`/models/weights/${file}`, () => readFile(join(weights, file))] as const),
  ])
}

/** What /models/manifest.json says: every file of weights by its chunks, every document by its hash. */
async function manifestOf(assets: Assets, signer: ManifestSigner | undefined): Promise<string> {
  const [files, documents] = [[], []] as [ChunkedFile[], SignedDocument[]]
  for (const [address, read] of assets) {
    const [, path] = /^\/models\/(.+)$/.exec(address) ?? []
    // It cannot list itself.
    if (path === undefined || path === 'manifest.json') continue
    if (path.endsWith('.json')) documents.push(await signedDocument(path, bytesOf(await read())))
    else files.push(await chunkedFile(basename(path), bytesOf(await read())))
  }
  const unsigned = { kind: 'zt.weights.v1', version: signer?.version ?? 0, files, documents } as const
  return JSON.stringify(signer === undefined ? unsigned : await signWeightsManifest(unsigned, signer.privateKey))
}

const bytesOf = (data: Uint8Array | string): Uint8Array =>
  typeof data === 'string' ? new TextEncoder().encode(data) : data

/** What /models/index.json says. */
export const indexOf = (standard: string, ids: readonly string[]): string =>
  JSON.stringify({ object: 'list', default_model: standard, data: ids })

function serving(all: () => Promise<Assets>): Connect.NextHandleFunction {
  return async (request, response, next) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    if (!/^\/(runtime|models)\//.test(pathname)) return next()
    const read = (await all()).get(pathname)
    if (read === undefined) return next()
    const bytes = await read()
    response.setHeader('Content-Type', contentTypes[extname(pathname)] ?? 'application/octet-stream')
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp')
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
    response.end(bytes)
  }
}

const isolated: Connect.NextHandleFunction = (_request, response, next) => {
  for (const [name, value] of Object.entries(isolationHeaders)) response.setHeader(name, value)
  next()
}

/** What makes a page cross-origin isolated, so that wasm may have threads. */
export const isolationHeaders = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
} as const
