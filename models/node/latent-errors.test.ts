import { readdir } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { ownCache } from '../../test/own-cache.ts'
import { autoencoderSizes } from '../networks/autoencoder.ts'
import { renderFilms } from '../train/batches.ts'
import { nodeBackend } from './backend.ts'
import { type LatentErrors, latentErrors } from './latent-errors.ts'
import { defaultModel, loadCard, releasedState } from './models.ts'
import { requireSameEncoder } from './release.ts'

const first = 0x3000000
const config = autoencoderSizes.stickers
const groups = 5
const sizeOf = (cells: number) => config.channels * groups * cells ** 2
const folder = ownCache()

const errorsOf = async (): Promise<LatentErrors> =>
  latentErrors({
    ...{ config, first, films: renderFilms(first, 2, 17, 64, 4), models: [defaultModel] },
    ...{ parameters: await releasedState(await loadCard(defaultModel)), backend: nodeBackend() },
    ...{ signal: new AbortController().signal, progress: () => {} },
  })

function windowOf(errors: LatentErrors, film: number, left = 0, top = 0, cells = 8): Float32Array {
  const into = new Float32Array(sizeOf(cells))
  errors.copy({ film, frame: 0, left, top }, cells, into)
  return into
}

describe('what a model gets wrong', () => {
  it('is something and less than what it gets right, differs by film, and is the same when it is read back', async () => {
    const fresh = await errorsOf()
    const [one, other] = [windowOf(fresh, 0), windowOf(fresh, 1)]
    // Latents have about unit variance.
    const power = one.reduce((sum, value) => sum + value ** 2, 0) / one.length
    expect(power).toBeGreaterThan(1e-4)
    expect(power).toBeLessThan(0.5)
    expect(other).not.toEqual(one)
    expect(await readdir(folder())).toHaveLength(1)
    expect(windowOf(await errorsOf(), 1)).toEqual(other)
  })

  it('is cut where a window is', async () => {
    const errors = await errorsOf()
    const [whole, part] = [windowOf(errors, 1), windowOf(errors, 1, 24, 8, 5)]
    for (const [channel, group, row, column] of [
      [0, 0, 0, 0],
      [7, 3, 4, 1],
      [63, 4, 2, 4],
    ] as const) {
      const plane = channel * groups + group
      expect(part[(plane * 5 + row) * 5 + column]).toBe(whole[(plane * 8 + row + 1) * 8 + column + 3])
    }
  })
})

describe('an autoencoder that is released alone', () => {
  it('must have the encoder that a model’s latents are from, its decoder may be another', async () => {
    const card = await loadCard(defaultModel)
    const state = await releasedState(card)
    const [encoding, decoding] = ['autoencoder.encoder.components.bias', 'autoencoder.decoder.components.bias']
    const changed = (name: string) => ({ ...state, [name]: (state[name] as Float32Array).map((value) => value + 1) })
    expect(() => requireSameEncoder(card, changed(decoding), state)).not.toThrow()
    expect(() => requireSameEncoder(card, changed(encoding), state)).toThrow(`${encoding}: is not that of zt-nano`)
  })
})
