import { describe, expect, it } from 'vitest'
import { goldenNoise, noiseHash } from '../test/golden-noise.ts'

describe('noise in a browser', () => {
  for (const { seed, stream, sha256 } of goldenNoise)
    it(`has the golden hash of Node for seed ${seed}, stream ${stream}`, async () => {
      expect(await noiseHash(seed, stream)).toBe(sha256)
    })
})
