import { afterEach, describe, expect, it, vi } from 'vitest'
import { base64url } from '../shared/signature.ts'
import { chunkedFile, signedDocument, signWeightsManifest, type WeightsManifest } from '../shared/weights-manifest.ts'
import { toyModel } from '../test/toy-model.ts'
import { modelLibrary } from './models.ts'
import { memoryShelf } from './shelf.ts'
import { createStore } from './store.ts'
import { textShelf } from './texts.ts'

const base = 'http://site.test/models/'
const signal = new AbortController().signal
const { card, files } = await toyModel({ id: 'toy' })
const { privateKey, publicKey } = (await crypto.subtle.generateKey('Ed25519', true, [
  'sign',
  'verify',
])) as CryptoKeyPair
const pinned = base64url(new Uint8Array(await crypto.subtle.exportKey('raw', publicKey)))
const listed = await Promise.all(Object.entries(files).map(([file, bytes]) => chunkedFile(file, bytes)))
const index = { default_model: 'toy', data: ['toy'] }
const texts = { 'index.json': index, 'cards/toy.json': card }
const documents = await Promise.all(
  Object.entries(texts).map(([path, document]) =>
    signedDocument(path, new TextEncoder().encode(JSON.stringify(document))),
  ),
)
const manifest = (version: number, more: Partial<WeightsManifest> = {}) =>
  signWeightsManifest({ kind: 'zt.weights.v1', version, files: listed, documents, ...more }, privateKey)

afterEach(() => vi.unstubAllGlobals())

/** A site with these files; remembers what was asked. */
function site(more: Readonly<Record<string, unknown>>): string[] {
  const asked: string[] = []
  vi.stubGlobal('navigator', { onLine: true })
  vi.stubGlobal('fetch', async (url: string) => {
    const path = String(url).slice(base.length)
    asked.push(path)
    const found = path.startsWith('weights/') ? files[path.slice(8)] : more[path]
    if (found === undefined) return new Response(null, { status: 404 })
    return new Response(found instanceof Uint8Array ? (found as Uint8Array<ArrayBuffer>) : JSON.stringify(found))
  })
  return asked
}

/** A connection that is open and brings nothing. */
const silent = (_url: string, { signal }: RequestInit) =>
  new Promise((_resolve, reject) => {
    signal?.throwIfAborted()
    signal?.addEventListener('abort', () => reject(signal.reason))
  })

const shelves = () => ({
  store: createStore({ shelf: memoryShelf(), lock: (_name, body) => body(), pause: async () => {} }),
  cards: memoryShelf(),
  texts: textShelf(),
})
const load = (there: ReturnType<typeof shelves>, keys: readonly string[]) =>
  modelLibrary({ base, keys, ...there }).load(card, signal, () => {})

describe('models of a site whose key is pinned', () => {
  it('are loaded where the signed manifest lists their weights', async () => {
    site({ 'manifest.json': await manifest(1) })
    expect((await load(shelves(), [pinned])).card.id).toBe('toy')
  })

  it.each([
    ['without a manifest', async () => undefined, 'not_found'],
    ['with an unsigned one', async () => ({ ...(await manifest(1)), sig: undefined }), 'weights_integrity'],
    ['with one that lists others', () => manifest(1, { files: [] }), 'weights_integrity'],
  ])('are not fetched %s', async (_what, found, code) => {
    const asked = site({ 'manifest.json': await found() })
    await expect(load(shelves(), [pinned])).rejects.toMatchObject({ code })
    expect(asked).toEqual(['manifest.json'])
  })

  it('are never again of an older release', async () => {
    const there = shelves()
    site({ 'manifest.json': await manifest(2) })
    await load(there, [pinned])
    site({ 'manifest.json': await manifest(1) })
    await expect(load(there, [pinned])).rejects.toMatchObject({ code: 'weights_integrity' })
    site({ 'manifest.json': await manifest(3) })
    expect((await load(there, [pinned])).card.id).toBe('toy')
  })
})

describe('cards of a site whose key is pinned', () => {
  const there = shelves()
  const library = (keys: readonly string[] = [pinned]) => modelLibrary({ base, keys, ...there })

  it('are read as the signed manifest lists them, and again without a network', async () => {
    const asked = site({ ...texts, 'manifest.json': await manifest(1) })
    expect(await library().card('toy', signal)).toEqual(card)
    // The manifest is asked for once, not with every document.
    expect(asked.filter((path) => path === 'manifest.json')).toHaveLength(1)
    vi.stubGlobal('navigator', { onLine: false })
    asked.length = 0
    expect(await library().card('toy', signal)).toEqual(card)
    expect(asked).toEqual([])
  })

  it.each([
    ['a card of other numbers', { 'cards/toy.json': { ...card, prediction: 'sample' } }],
    ['an index that names another standard', { 'index.json': { ...index, default_model: 'other' } }],
  ])('are refused where the site serves %s, and what was kept stays', async (_what, wrong) => {
    site({ ...texts, ...wrong, 'manifest.json': await manifest(1) })
    await expect(library().card('toy', signal)).rejects.toMatchObject({ code: 'weights_integrity' })
    // Without a key it is taken: nothing else stands between it and the engine.
    await expect(modelLibrary({ base, ...shelves() }).card('toy', signal)).resolves.toBeDefined()
    vi.stubGlobal('navigator', { onLine: false })
    expect(await library().card('toy', signal)).toEqual(card)
  })

  it('are taken as they were where the network says nothing', async () => {
    site({ ...texts, 'manifest.json': await manifest(1) })
    await library().card('toy', signal)
    const patience = { first: 400, known: 50 }
    vi.stubGlobal('navigator', { onLine: true })
    vi.stubGlobal('fetch', silent)
    expect(await modelLibrary({ base, keys: [pinned], ...there, patience }).card('toy', signal)).toEqual(card)
    // Where none was ever had, that is said; and who gives up is heard at once.
    const bare = modelLibrary({ base, ...shelves(), patience })
    await expect(bare.card('toy', signal)).rejects.toMatchObject({ code: 'offline' })
    await expect(bare.card('toy', AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('follow a release that comes while the page is open', async () => {
    const open = library()
    site({ ...texts, 'manifest.json': await manifest(1) })
    await open.card('toy', signal)
    const next = { ...card, summary: 'the next release' }
    const fresh = await signedDocument('cards/toy.json', new TextEncoder().encode(JSON.stringify(next)))
    const listing = documents.map((each) => (each.path === fresh.path ? fresh : each))
    site({ ...texts, 'cards/toy.json': next, 'manifest.json': await manifest(2, { documents: listing }) })
    expect((await open.card('toy', signal)).summary).toBe('the next release')
  })
})

describe('models of a site without a key', () => {
  it('are held to the hashes in their cards, with a manifest or without', async () => {
    site({})
    expect((await load(shelves(), [])).card.id).toBe('toy')
    const wrong = listed.map((file) => ({ ...file, chunks: file.chunks.map(() => '0'.repeat(64)) }))
    site({ 'manifest.json': await manifest(1, { files: wrong }) })
    await expect(load(shelves(), [])).rejects.toMatchObject({ code: 'weights_integrity' })
  })
})
