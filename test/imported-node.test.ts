/** An imported model on the node: one pipeline with the command line, and its text encoder for devices without one. */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { nodeBackend } from '../models/node/backend.ts'
import { main } from '../models/node/cli.ts'
import { type RunningNode, startNode } from '../models/node/serve/serve.ts'
import { importToyWan, toyImport } from './checkpoints/toy-import.ts'
import { toyFolder } from './toy-folder.ts'

const prompt = 'a red fox runs over the sea'
const clip = { prompt, seed: 3, size: '48x32', num_frames: 9 }

let place = ''
let node: RunningNode
const before = process.env.ZOETROPE_MODELS
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'imported-node-'))
  process.env.ZOETROPE_MODELS = join(place, 'imported')
  vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  await importToyWan(place)
  const folders = await toyFolder(place)
  node = await startNode({
    backend: nodeBackend(),
    token: 'secret',
    folders,
    complain: (error) => console.error(error),
  })
}, 120_000)
afterAll(async () => {
  vi.restoreAllMocks()
  await node.close()
  process.env.ZOETROPE_MODELS = before
  if (before === undefined) delete process.env.ZOETROPE_MODELS
  await rm(place, { recursive: true, force: true })
})

const call = (path: string, body?: object) =>
  fetch(`${node.url}/v1${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: 'Bearer secret', 'content-type': 'application/json', prefer: 'wait=60' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })

async function made(input: object): Promise<Uint8Array> {
  const answer = await call(`/models/zoetrope/${toyImport}/predictions`, { input: { ...clip, ...input } })
  const { output, error } = (await answer.json()) as { output: string | string[]; error: string | null }
  expect([answer.status, error]).toEqual([201, null])
  const url = Array.isArray(output) ? output[0] : output
  const file = await fetch(url as string, { headers: { authorization: 'Bearer secret' } })
  return new Uint8Array(await file.arrayBuffer())
}

describe('an imported model on the node', () => {
  it('is listed beside the released ones', async () => {
    const { results } = (await (await call('/models')).json()) as { results: { name: string }[] }
    expect(results.map(({ name }) => name)).toEqual(['zt-toy', toyImport])
  })

  it('gives the very file that the command line gives', async () => {
    const path = join(place, 'cli.mp4')
    const words = [prompt, '--model', toyImport, '--size', '48x32', '--frames', '9', '--seed', '3', '-o', path]
    expect(await main(['generate', ...words, '--json'])).toBe(0)
    const ours = await readFile(path)
    expect(ours.subarray(4, 8).toString()).toBe('ftyp')
    expect(Buffer.from(await made({})).equals(ours)).toBe(true)
    expect(Buffer.from(await made({ seed: 4 })).equals(ours)).toBe(false)
  }, 120_000)

  it('is left after one step and entered again with the same end', async () => {
    const whole = Buffer.from(await made({}))
    const latents = Buffer.from(await made({ stop_step: 1 }))
    const init = `data:application/octet-stream;base64,${latents.toString('base64')}`
    expect(latents.length).toBe(4 * 16 * 3 * 4 * 6)
    expect(Buffer.from(await made({ init_latent: init, start_step: 1 })).equals(whole)).toBe(true)
  }, 120_000)

  it('embeds prompts, the rows of their own tokens told', async () => {
    const answer = await call('/embeddings/prompt', { model: toyImport, prompt, dtype: 'f32' })
    const facts = JSON.parse(answer.headers.get('zoetrope-tensor') ?? '{}')
    expect([answer.status, facts.shape]).toEqual([200, [1, facts.tokens[0], 64]])
    expect((await answer.arrayBuffer()).byteLength).toBe(4 * 64 * facts.tokens[0])
    expect(facts.encoder).toMatch(/^[0-9a-f]{64}$/)
  })

  it('refuses a size that its strides do not fit, in a sentence', async () => {
    const answer = await call(`/models/zoetrope/${toyImport}/predictions`, { input: { ...clip, size: '50x32' } })
    expect([answer.status, ((await answer.json()) as { detail: string }).detail]).toEqual([
      422,
      expect.stringContaining('16'),
    ])
  })
})
