import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { cosine } from '../../shared/schedule.ts'
import { ditSizes } from '../networks/dit.ts'
import { textEncoderSizes } from '../networks/text-encoder.ts'
import { vocabularySize } from '../text/tokenizer.ts'
import { anyOf } from '../train/choice.ts'
import { criticBeginning, criticName } from '../train/critic.ts'
import { type LatentSet, textFeeds } from '../train/denoising.ts'
import type { TrainingState } from '../train/trainer.ts'
import { captionTokens } from '../world/captions.ts'
import { sampleAttributes } from '../world/vocabulary.ts'
import { nodeBackend } from './backend.ts'
import { type CriticRun, criticPair, criticSession, criticSide, criticTrainer, shapeOf } from './critic-session.ts'

const size = 16 * 2 * 4 * 4
/** Films: all alike, but for a little. */
const film = gaussian(1, 0, 0, size)
const set: LatentSet = {
  count: 4,
  ...{ channels: 16, frames: 2, height: 4, width: 4 },
  latents: Float32Array.from({ length: 4 * size }, (_, n) => film[n % size] as number),
  coverage: new Uint8Array(4 * 2 * 4 * 4),
  attributes: (index) => sampleAttributes(index, 'all'),
}
const run: CriticRun = {
  ...{ backend: nodeBackend(), config: ditSizes.tiny, text: { ...textEncoderSizes.tiny, vocabulary: vocabularySize } },
  ...{ set, choice: anyOf(set), batch: 4, tokens: captionTokens.film, seed: 1 },
}
const texts = new Array<string>(4).fill('a blue bird')
const levels = [0.1, 0.3, 0.5, 0.7].map(cosine())
const made = (step: number) => ({ levels, latents: gaussian(2, step, 0, 4 * size) })

async function trained(state: TrainingState, steps: number) {
  await using learner = await criticTrainer(run, state)
  const rights: number[] = []
  for (let step = 0; step < steps; step++) {
    const pair = criticPair(run, made(step), texts, step)
    const { scalars } = await learner.step(pair, { learningRate: 0.01, emaDecay: 0, step })
    rights.push(scalars.right as number)
  }
  const copy = Object.entries(learner.state()).map(([name, data]) => [name, data.slice()])
  return { rights, state: Object.fromEntries(copy) as TrainingState }
}

describe('a critic', () => {
  it('favours nobody at first, though it begins with its teacher’s layers, and learns to tell films', async () => {
    const { state: teacher } = await trained({}, 3)
    const beginning = criticBeginning(teacher)
    expect(Object.keys(beginning).some((name) => name.startsWith('dit.layers.1.'))).toBe(true)
    const { rights } = await trained(beginning, 40)
    expect(rights[0]).toBe(0)
    expect(rights.at(-1)).toBeGreaterThan(0.5)
  })

  it('pushes clips to where it takes each for a film sooner', async () => {
    const { state } = await trained({}, 20)
    await using session = await criticSession(run, () => state)
    const words = textFeeds(criticName, texts, run.tokens)
    const { latents } = made(99)
    const before = await session.at(criticSide(run, { latents, levels }, words))
    expect(before.push.length).toBe(latents.length)
    for (const clip of [0, 3]) {
      // One clip alone: the others' share of the mean stays as it is.
      const part = before.push.subarray(clip * size, (clip + 1) * size)
      const squares = part.reduce((sum, x) => sum + x * x, 0)
      const step = 0.01 / squares
      const moved = latents.map((x, n) => (Math.floor(n / size) === clip ? x + step * (before.push[n] as number) : x))
      const after = await session.at(criticSide(run, { latents: moved, levels }, words))
      // The push is the slope of the clip's own mean logit, a quarter of the mean over four.
      expect((4 * (after.taken - before.taken)) / 0.01).toBeCloseTo(1, 1)
    }
    expect(shapeOf(run)).toEqual([4, 16, 2, 4, 4])
  })
})
