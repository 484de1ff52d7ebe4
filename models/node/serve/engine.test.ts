import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { manualClock } from '../../../test/manual-clock.ts'
import { type ToyFolders, toyFolder } from '../../../test/toy-folder.ts'
import type { Backend, Session } from '../../pipeline/backend.ts'
import { nodeBackend } from '../backend.ts'
import type { Prediction, PredictionObject } from './prediction.ts'
import { type RunningNode, startNode } from './serve.ts'

/** A backend that counts the runs of denoising steps and can act after each. */
function watched() {
  const inner = nodeBackend({ threads: 1, optimization: 'basic' })
  const watch = { steps: 0, onStep: async (_: number) => {}, open: 0 }
  const wrap = (session: Session): Session => ({
    run: async (feeds, into) => {
      const result = await session.run(feeds, into)
      if ('row' in feeds) await watch.onStep(++watch.steps)
      return result
    },
    [Symbol.asyncDispose]: async () => {
      watch.open--
      await session[Symbol.asyncDispose]()
    },
  })
  const backend: Backend = {
    name: inner.name,
    load: async (source) => {
      watch.open++
      return wrap(await inner.load(source))
    },
  }
  return { backend, watch }
}

const { backend, watch } = watched()
let folders: ToyFolders
let node: RunningNode
const token = 'secret'
const prompt = 'a blue bird flies left over the sea'

beforeAll(async () => {
  const place = await mkdtemp(join(tmpdir(), 'zoetrope-toy-'))
  folders = await toyFolder(place)
  await toyFolder(place, { id: 'zt-toy-student', guided: true })
  await toyFolder(place, { id: 'zt-toy-multistep', sampler: 'dpm2m' })
  node = await startNode({ backend, token, folders, complain: (error) => console.error(error) })
})

afterAll(async () => {
  await node.close()
})

const call = (path: string, init: RequestInit = {}) =>
  fetch(`${node.url}/v1${path}`, {
    ...init,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', prefer: 'wait', ...init.headers },
  })

async function predict(input: object, model = 'zt-toy'): Promise<PredictionObject> {
  const response = await call(`/models/zoetrope/${model}/predictions`, {
    method: 'POST',
    body: JSON.stringify({ input: { prompt, seed: 7, ...input } }),
  })
  const prediction = (await response.json()) as PredictionObject
  expect([response.status, prediction.error]).toEqual([201, null])
  return prediction
}

async function bytesOf({ output }: PredictionObject): Promise<Buffer> {
  const response = await fetch(output as string)
  expect(response.status).toBe(200)
  return Buffer.from(await response.arrayBuffer())
}

async function upload(bytes: Buffer): Promise<string> {
  const form = new FormData()
  form.append('content', new Blob([new Uint8Array(bytes)]), 'latents.bin')
  const response = await fetch(`${node.url}/v1/files`, {
    method: 'POST',
    body: form,
    headers: { authorization: `Bearer ${token}` },
  })
  return ((await response.json()) as { urls: { get: string } }).urls.get
}

describe('a served model', () => {
  const magic: Readonly<Record<string, (bytes: Buffer) => boolean>> = {
    mp4: (bytes) => bytes.toString('latin1', 4, 8) === 'ftyp',
    gif: (bytes) => bytes.toString('latin1', 0, 4) === 'GIF8',
    webp: (bytes) => bytes.toString('latin1', 8, 12) === 'WEBP',
    png: (bytes) => bytes.toString('latin1', 1, 4) === 'PNG',
    frames: (bytes) => bytes.toString('latin1', 0, 4) === 'PK\x03\x04' && bytes.includes('frame_00004.png'),
    latents: (bytes) => bytes.length === 16 * 2 * 4 * 4 * 4,
  }
  for (const [format, fits] of Object.entries(magic)) {
    it(`gives ${format} with the facts of the file`, async () => {
      const prediction = await predict({ output_format: format })
      const bytes = await bytesOf(prediction)
      expect(fits(bytes)).toBe(true)
      expect(prediction.output_metadata?.outputs[0]).toMatchObject({ format, bytes: bytes.length, num_frames: 5 })
    })
  }

  it('tells in its receipt how a result came about, so that the same again gives the same bytes', async () => {
    const [first, again] = [await predict({}), await predict({})]
    expect((await bytesOf(first)).equals(await bytesOf(again))).toBe(true)
    expect(first.output_metadata?.receipt).toMatchObject({
      model: 'zt-toy',
      seed: 7,
      inference_source: 'in_cloud',
      split_step: null,
      outputs_sha256: [first.output_metadata?.outputs[0]?.sha256],
    })
    expect(first.receipt).toEqual(first.output_metadata?.receipt)
  })

  it('takes zero for a seed and draws one where none is given', async () => {
    const [zero, drawn] = [await predict({ seed: 0 }), await predict({ seed: null })]
    expect(zero.output_metadata?.receipt.seed).toBe(0)
    expect(drawn.output_metadata?.receipt.seed).toBeGreaterThanOrEqual(0)
    expect(zero.output_metadata?.receipt.outputs_sha256).not.toEqual(drawn.output_metadata?.receipt.outputs_sha256)
  })

  it('makes n outputs, the second as if its seed had been asked for', async () => {
    const [two, second] = [await predict({ n: 2 }), await predict({ seed: 8 })]
    expect(two.output).toHaveLength(2)
    expect(two.output_metadata?.outputs[1]?.sha256).toBe(second.output_metadata?.outputs[0]?.sha256)
    expect(two.logs).toContain('100%|##########| 8/8 ')
  })

  it('serves a distilled student that is told its guidance scale', async () => {
    const [one, six] = [
      await predict({ guidance_scale: 1 }, 'zt-toy-student'),
      await predict({ guidance_scale: 6 }, 'zt-toy-student'),
    ]
    expect((await bytesOf(one)).equals(await bytesOf(six))).toBe(false)
  })
})

describe('a split run', () => {
  for (const [model, step] of [
    ['zt-toy', 1],
    ['zt-toy', 3],
    ['zt-toy-student', 2],
    ['zt-toy-multistep', 3],
  ] as const) {
    it(`of ${model}, cut after step ${step}, gives the bytes of the whole`, async () => {
      const whole = await predict({ output_format: 'latents' }, model)
      const first = await predict({ stop_step: step }, model)
      const envelope = first.output_metadata?.outputs[0]?.envelope
      expect(envelope).toMatchObject({ kind: 'zt.latent.v1', step, steps: 4, shape: [1, 16, 2, 4, 4], seed: '7' })
      const init = await upload(await bytesOf(first))
      const second = await predict({ init_latent: init, envelope, output_format: 'latents' }, model)
      expect((await bytesOf(second)).equals(await bytesOf(whole))).toBe(true)
      expect(second.output_metadata?.receipt).toMatchObject({ inference_source: 'hybrid', split_step: step })
      expect(second.logs).toContain(`100%|##########| ${4 - step}/${4 - step} `)
    })
  }

  it('decodes latents of a finished plan without a step', async () => {
    const latents = await predict({ output_format: 'latents' })
    const before = watch.steps
    const data = `data:application/octet-stream;base64,${(await bytesOf(latents)).toString('base64')}`
    const video = await predict({ init_latent: data, start_step: 4 })
    expect(watch.steps).toBe(before)
    expect((await bytesOf(video)).equals(await bytesOf(await predict({})))).toBe(true)
  })

  it('hands over in half precision at half the size', async () => {
    const first = await predict({ stop_step: 2, latent_dtype: 'f16' })
    const bytes = await bytesOf(first)
    expect(bytes.length).toBe(16 * 2 * 4 * 4 * 2)
    const envelope = first.output_metadata?.outputs[0]?.envelope
    await predict({ init_latent: await upload(bytes), envelope })
  })

  for (const [model, step] of [
    ['zt-toy', 2],
    ['zt-toy', 4],
    ['zt-toy-multistep', 3],
  ] as const) {
    it(`of ${model} kept after step ${step} on the way to a video changes nothing of the video`, async () => {
      const [plain, kept] = [await predict({}, model), await predict({ keep_step: step }, model)]
      expect((await bytesOf(kept)).equals(await bytesOf(plain))).toBe(true)
      expect(kept.logs.replaceAll(/\[.*\]/g, '')).toBe(plain.logs.replaceAll(/\[.*\]/g, ''))
      const [video, latents] = kept.output_metadata?.outputs ?? []
      expect([video?.variant, latents?.variant, latents?.envelope?.step]).toEqual(['video', 'latent', step])
      expect(kept.output).toBe(video?.url)
      const half = await predict({ output_format: 'latents', ...(step === 4 ? {} : { stop_step: step }) }, model)
      expect(latents?.sha256).toBe(half.output_metadata?.outputs[0]?.sha256)
    })
  }

  const sample = Buffer.alloc(16 * 2 * 4 * 4 * 4)
  const shape = [1, 16, 2, 4, 4]
  const facts = {
    ...{ kind: 'zt.latent.v1', family: 'zt.toy16', model: 'zt-toy@r1', shape, dtype: 'f32' },
    ...{ bytes: sample.length, sha256: '0'.repeat(64), step: 1, steps: 4, scheduler: 'ddim', seed: '7' },
  }
  const envelope = (change: object) => (url: string) => ({ init_latent: url, envelope: { ...facts, ...change } })
  const refusals: Readonly<Record<string, readonly [input: (url: string) => object, message: string]>> = {
    'of another length': [(url) => ({ init_latent: url, start_step: 1, num_frames: 9 }), 'got 512 numbers'],
    'without a step': [(url) => ({ init_latent: url }), 'allowed is one with a start_step'],
    'at a step without latents': [() => ({ start_step: 2 }), 'allowed is one with a start_step'],
    'from elsewhere': [() => ({ init_latent: 'https://example.org/z', start_step: 1 }), 'no file of this node'],
    'with a broken envelope': [envelope({}), 'sha256 is'],
    'of another family': [envelope({ family: 'other' }), 'got other, this request takes zt.toy16'],
    'of another model': [envelope({ model: 'zt-toy@r0' }), 'got zt-toy@r0, this request takes zt-toy@r1'],
    'of another length of run': [envelope({ steps: 8 }), 'got 8, this request takes 4'],
    'of another walk': [envelope({ scheduler: 'dpm2m' }), 'got dpm2m, this request takes ddim'],
    'of another size': [envelope({ shape: [1, 16, 2, 4, 8] }), 'this request takes 1x16x2x4x4'],
    'after a step there is not': [envelope({ step: 5 }), 'this plan can be entered at 0, 1, 2, 3, 4'],
    'that stops at no step': [() => ({ stop_step: 5 }), 'this plan can be left at 1, 2, 3, 4'],
    'that keeps the latents of a step it does not take': [() => ({ keep_step: 5 }), 'kept after 1, 2, 3, 4'],
    'that stops early and wants a video': [() => ({ stop_step: 2, output_format: 'mp4' }), 'leave output_format out'],
  }
  for (const [name, [input, message]] of Object.entries(refusals)) {
    it(`${name} is refused before it begins`, async () => {
      const url = await upload(sample)
      const body = JSON.stringify({ model: 'zt-toy', input: { prompt, ...input(url) } })
      const response = await call('/predictions', { method: 'POST', body })
      expect([response.status, ((await response.json()) as { detail: string }).detail]).toEqual([
        422,
        expect.stringContaining(message),
      ])
    })
  }

  it('of a sampler with memory is cut only where it does not look back', async () => {
    const body = JSON.stringify({ model: 'zt-toy-multistep', input: { prompt, stop_step: 2 } })
    const response = await call('/predictions', { method: 'POST', body })
    expect(await response.text()).toContain('this plan can be left at 3, 4')
  })
})

describe('cancelling', () => {
  it('during a step stops the run after that step', async () => {
    const first = watch.steps
    const { cancel } = node.predictions
    const asked = vi.spyOn(node.predictions, 'cancel')
    const heard = new Promise<void>((resolve) => {
      asked.mockImplementation((prediction) => {
        cancel(prediction)
        resolve()
      })
    })
    let canceled: Promise<Response> | undefined
    watch.onStep = async (step) => {
      if (step !== first + 3) return
      const { id } = (node.predictions.list(undefined, 1).results[0] as Prediction).order
      canceled = call(`/predictions/${id}/cancel`, { method: 'POST' })
      // The step lasts until the node has heard of it.
      await heard
    }
    const body = JSON.stringify({ model: 'zt-toy', input: { prompt, num_inference_steps: 64 } })
    const waited = (await (await call('/predictions', { method: 'POST', body })).json()) as PredictionObject
    watch.onStep = async () => {}
    asked.mockRestore()
    expect([waited.status, watch.steps - first]).toEqual(['canceled', 3])
    expect(await (await canceled)?.json()).toMatchObject({ status: 'canceled', output: null })
  })
})

describe('embeddings', () => {
  const embed = async (body: object) => {
    const response = await call('/embeddings/prompt', { method: 'POST', body: JSON.stringify(body) })
    const facts = JSON.parse(response.headers.get('zoetrope-tensor') ?? 'null')
    return { status: response.status, facts, bytes: await response.arrayBuffer() }
  }

  it('of a prompt and what to keep away from come as one tensor', async () => {
    const { facts, bytes } = await embed({ model: 'zt-toy', prompt, negative_prompt: '', dtype: 'f32' })
    expect(facts).toMatchObject({ shape: [2, 16, 256], dtype: 'f32', tokens: [9, 1] })
    expect(facts.encoder).toBe(folders.card.weights.denoiser.sha256)
    expect(bytes.byteLength).toBe(2 * 16 * 256 * 4)
  })

  it('in eight bits stay within half a step of the scale', async () => {
    const [exact, small] = [
      await embed({ model: 'zt-toy', prompt, dtype: 'f32' }),
      await embed({ model: 'zt-toy', prompt, dtype: 'int8' }),
    ]
    const [values, integers] = [new Float32Array(exact.bytes), new Int8Array(small.bytes)]
    const worst = values.reduce(
      (most, value, index) => Math.max(most, Math.abs(value - (integers[index] as number) * small.facts.scale)),
      0,
    )
    expect(worst).toBeLessThanOrEqual(small.facts.scale * 0.501)
  })

  it('are refused for an empty prompt', async () => {
    expect((await embed({ model: 'zt-toy', prompt: '' })).status).toBe(422)
  })
})

describe('a node that closes', () => {
  it('gives every session back', async () => {
    const { backend: mine, watch: counted } = watched()
    const own = await startNode({ backend: mine, token, folders, clock: manualClock() })
    const response = await fetch(`${own.url}/v1/predictions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', prefer: 'wait' },
      body: JSON.stringify({ model: 'zt-toy', input: { prompt } }),
    })
    expect(((await response.json()) as PredictionObject).status).toBe('succeeded')
    expect(counted.open).toBeGreaterThan(0)
    await own.close()
    expect(counted.open).toBe(0)
  })
})
