import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluate } from '../graph/evaluate.ts'
import { trace } from '../graph/graph.ts'
import { ditSizes } from '../networks/dit.ts'
import { textEncoderSizes } from '../networks/text-encoder.ts'
import { initialize } from './initialize.ts'
import { denoiserObjective } from './objectives.ts'

const [frames, side, tokens] = [3, 2, 4]
const { channels, featureWidth } = ditSizes.tiny
const clip = (of: (frame: number) => number) =>
  Float32Array.from({ length: channels * frames * side ** 2 }, (_, n) => of(Math.floor(n / side ** 2) % frames))

/** Losses of a network that says zero, as one does that has not learned, so that the error is the target. */
function losses(target: Float32Array, changes?: number, judged = [1, 1, 1]) {
  const text = { ...textEncoderSizes.nano, vocabulary: 8 }
  const part = { name: 'video', batch: 1, frames, tokens, share: 1, ...(changes === undefined ? {} : { changes }) }
  const graph = trace(() => denoiserObjective(ditSizes.tiny, text, { height: side, width: side }, [part]))
  const parameters = Object.fromEntries(
    graph.parameters.map(({ attributes }) => [attributes.name, initialize(1)(attributes)]),
  )
  const inputs = {
    'video.latents': gaussian(1, 0, 0, target.length),
    'video.target': target,
    'video.time': new Float32Array(frames * featureWidth),
    'video.weight': Float32Array.from({ length: frames * side ** 2 }, (_, n) => judged[Math.floor(n / side ** 2)] ?? 0),
    'video.ids': new Int32Array(tokens),
    'video.mask': new Float32Array(tokens).fill(1),
  }
  const { loss, video } = evaluate(graph, { parameters, inputs })
  return { loss: loss?.data[0], plain: video?.data[0] }
}

describe('errors of motion', () => {
  it('add nothing where the error stands still, and a change’s square where it moves', () => {
    const [still, moving] = [clip(() => 2), clip((frame) => (frame === 1 ? 3 : 1))]
    expect(losses(still, 5)).toEqual({ loss: 4, plain: 4 })
    expect(losses(moving).loss).toBeCloseTo(11 / 3, 6)
    expect(losses(moving, 5).plain).toBeCloseTo(11 / 3, 6)
    expect(losses(moving, 5).loss).toBeCloseTo(11 / 3 + 5 * 4, 6)
  })

  it('do not count towards a frame that is not judged', () => {
    // The first frame is given; only the second pair is a motion of the network's own.
    const target = clip((frame) => [9, 1, 3][frame] as number)
    expect(losses(target, 5, [0, 1, 1]).loss).toBeCloseTo(10 / 3 + (5 * 4) / 2, 6)
  })
})
