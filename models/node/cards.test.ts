import { describe, expect, it } from 'vitest'
import { autoencoderSizes, latentStrides } from '../networks/autoencoder.ts'
import { loadCard, modelIds } from './models.ts'

describe('a released card', () => {
  it('says how its latents lie, as its autoencoder has them, so that its runs can be handed over', async () => {
    const ids = await modelIds()
    expect(ids.length).toBeGreaterThan(0)
    for (const id of ids) {
      const { architecture, latents } = await loadCard(id)
      const { channels } = autoencoderSizes[architecture.autoencoder as keyof typeof autoencoderSizes]
      expect([id, latents]).toEqual([id, { ...latentStrides, channels, plan: 'cosine' }])
    }
  })
})
