import { describe, expect, it } from 'vitest'
import { goldenNoise, noiseHash } from './golden-noise.ts'

describe('noise in Node', () => {
  for (const { seed, stream, sha256 } of goldenNoise)
    it(`has its golden hash for seed ${seed}, stream ${stream}`, async () => {
      expect(await noiseHash(seed, stream)).toBe(sha256)
    })
})
