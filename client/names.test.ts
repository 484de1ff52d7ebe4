import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRequest, videoRequestEntries } from '../shared/request.ts'
import { camelCase, snakeCase } from './names.ts'

describe('names', () => {
  it('go to camel case and back for every field of a request', () => {
    for (const field of Object.keys(videoRequestEntries)) {
      const there = camelCase({ [field]: 1 }) as object
      expect(Object.keys(there)[0]).not.toContain('_')
      expect(snakeCase(there)).toEqual({ [field]: 1 })
    }
  })

  it('leave values, and the keys of maps that callers fill', () => {
    const request = {
      prompt: 'a_b',
      numFrames: 5,
      metadata: { orderId: 'x' },
      frameImages: [{ frameType: 'first_frame' }],
    }
    expect(snakeCase(request)).toEqual({
      prompt: 'a_b',
      num_frames: 5,
      metadata: { orderId: 'x' },
      frame_images: [{ frame_type: 'first_frame' }],
    })
  })

  it('keep seed zero and the empty negative prompt', () => {
    expect(parseRequest(snakeCase({ prompt: 'a fox', seed: 0, negativePrompt: '' }))).toMatchObject({
      seed: 0,
      negative_prompt: '',
    })
  })

  it('lose nothing of any tree', () => {
    const key = fc
      .stringMatching(/^[a-z]+(_[a-z]+)*$/)
      .filter((each) => !/^(metadata|receipt|provider_options)$/.test(each))
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        fc.integer(),
        fc.string(),
        fc.dictionary(key, tie('tree')),
        fc.array(tie('tree')),
      ),
    }))
    fc.assert(
      fc.property(tree, (value) => {
        expect(snakeCase(camelCase(value))).toEqual(value)
      }),
      { seed: 8 },
    )
  })
})
