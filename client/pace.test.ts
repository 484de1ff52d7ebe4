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
    await paces.note(card, standard, 120)
    expect(await paces.of(card)).toBe(120)
    const large = { ...standard, width: 128, height: 128, num_frames: 33 }
    const cost = card.cost as NonNullable<ModelCard['cost']>
    const times = clipCost(cost, large).step / clipCost(cost, standard).step
    expect(times).toBeGreaterThan(6)
    await paces.note(card, large, 120 * times)
    expect(await paces.of(card)).toBeCloseTo(120, 3)
  })

  it('is kept for each provider and for other weights apart', async () => {
    const notes = memoryShelf()
    await paceBook(notes, 'wasm').note(card, standard, 120)
    expect(await paceBook(notes, 'webgpu').of(card)).toBeUndefined()
    const { denoiser } = card.weights
    const next = { ...card, weights: { ...card.weights, denoiser: { ...denoiser, sha256: '0'.repeat(64) } } }
    expect(await paceBook(notes, 'wasm').of(next)).toBeUndefined()
  })

  it('is unknown where its note is damaged, and costs no run where there is no room for it', async () => {
    const notes = memoryShelf()
    await paceBook(notes, 'wasm').note(card, standard, 120)
    const [name] = await notes.names()
    for (const text of ['', 'NaN', '-1', 'Infinity', '{}']) {
      await writeFile(notes, name as string, new TextEncoder().encode(text))
      expect(await paceBook(notes, 'wasm').of(card)).toBeUndefined()
    }
    await expect(paceBook(memoryShelf(2), 'wasm').note(card, standard, 120)).resolves.toBeUndefined()
  })
})
