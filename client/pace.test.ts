import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { clipCost } from '../shared/cost.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { root } from '../test/sources.ts'
import { paceBook } from './pace.ts'
import { memoryShelf, writeFile } from './shelf.ts'

const card = JSON.parse(await readFile(join(root, 'models/cards/zt-nano.json'), 'utf8')) as ModelCard
const standard = { width: 64, height: 64, num_frames: 17, num_inference_steps: 8, guidance_scale: 4 }

describe('the pace of a device', () => {
  it('is told for the standard clip, whatever was run', async () => {
    const paces = paceBook(memoryShelf(), 'wasm')
    expect(await paces.of(card)).toBeUndefined()
    await paces.note(card, standard, { step: 120, besides: 300 })
    expect(await paces.of(card)).toEqual({ step: 120, besides: 300 })
    const large = { ...standard, width: 128, height: 128, num_frames: 33 }
    const cost = card.cost as NonNullable<ModelCard['cost']>
    const [bigger, usual] = [clipCost(cost, large), clipCost(cost, standard)]
    const [times, parts] = [bigger.step / usual.step, bigger.decode / usual.decode]
    expect([times > 6, parts > 6]).toEqual([true, true])
    await paces.note(card, large, { step: 130 * times, besides: 200 * parts })
    const { step = 0, besides = 0 } = (await paces.of(card)) ?? {}
    expect([step, besides]).toEqual([expect.closeTo(130), expect.closeTo(200)])
  })

  it('keeps what is known besides the steps where a run tells of these alone', async () => {
    const paces = paceBook(memoryShelf(), 'wasm')
    await paces.note(card, standard, { step: 120 })
    expect(await paces.of(card)).toEqual({ step: 120 })
    await paces.note(card, standard, { step: 110, besides: 300 })
    await paces.note(card, standard, { step: 100 })
    expect(await paces.of(card)).toEqual({ step: 100, besides: 300 })
  })

  it('is kept for each provider and for other weights apart', async () => {
    const notes = memoryShelf()
    await paceBook(notes, 'wasm').note(card, standard, { step: 120 })
    expect(await paceBook(notes, 'webgpu').of(card)).toBeUndefined()
    const { denoiser } = card.weights
    const next = { ...card, weights: { ...card.weights, denoiser: { ...denoiser, sha256: '0'.repeat(64) } } }
    expect(await paceBook(notes, 'wasm').of(next)).toBeUndefined()
  })

  it('is unknown where its note is damaged, and costs no run where there is no room for it', async () => {
    const notes = memoryShelf()
    await paceBook(notes, 'wasm').note(card, standard, { step: 120 })
    const [name] = await notes.names()
    for (const text of [
      '',
      'NaN',
      '120',
      '{}',
      '{"step":0}',
      '{"step":-1}',
      '{"step":1e999}',
      '{"step":1,"besides":-1}',
    ]) {
      await writeFile(notes, name as string, new TextEncoder().encode(text))
      expect(await paceBook(notes, 'wasm').of(card)).toBeUndefined()
    }
    await expect(paceBook(memoryShelf(2), 'wasm').note(card, standard, { step: 120 })).resolves.toBeUndefined()
  })
})
