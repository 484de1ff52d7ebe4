import { describe, expect, it } from 'vitest'
import { nodeBackend } from '../models/node/backend.ts'
import type { Backend } from '../models/pipeline/backend.ts'
import { modelOf } from '../models/pipeline/model.ts'
import { toyModel } from '../test/toy-model.ts'
import { goldenForward, ownProbe, requirePass } from './golden.ts'

const { card, files } = await toyModel()
const probe = ownProbe(modelOf(card, files))
const reference = nodeBackend()

/** An adapter that is off by a share. */
const offBy = (share: number): Backend => ({
  ...reference,
  load: async (source) => {
    const session = await reference.load(source)
    return {
      ...session,
      run: async (feeds) => {
        const outputs = Object.entries(await session.run(feeds))
        return Object.fromEntries(
          outputs.map(([name, each]) => [name, { ...each, data: each.data.map((value) => value * (1 + share)) }]),
        )
      },
    }
  },
})

describe('the golden forward', () => {
  it('takes a step of the standard clip, since few tokens have other kernels than many', () => {
    const { default: frames } = card.parameters.num_frames
    expect([frames, card.parameters.size.default]).toEqual([9, '32x32'])
    expect(probe.feeds.latents?.shape).toEqual([1, 16, 3, 4, 4])
  })

  it('passes an adapter that computes as the reference does, and tells what a step took', async () => {
    const result = await goldenForward(probe, reference, reference)
    expect(result).toMatchObject({ verdict: 'pass', relativeError: 0 })
    expect(result.milliseconds).toBeGreaterThan(0)
    expect(() => requirePass(result, 'an adapter')).not.toThrow()
  })

  it('fails one that is off by a hundredth, or gives what is no number, and says by how much', async () => {
    const result = await goldenForward(probe, offBy(0.01), reference)
    expect(() => requirePass(result, 'an adapter')).toThrow(
      'an adapter: a test step is off by 1.0e-2, allowed is 0.002',
    )
    expect(await goldenForward(probe, offBy(Number.NaN), reference)).toMatchObject({ verdict: 'fail' })
  })
})
