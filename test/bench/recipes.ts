/**
 * Ways to train a denoiser beside one another: optimizers, weightings, levels, averages and predictions, each on a short
 * run of the same pictures from the same start.
 *
 *   node test/bench/recipes.ts [--steps 400]
 *
 * Prints a table: what a step takes, and the error of the clean estimate of unseen pictures at levels of noise, which is
 * comparable whatever a run was told to say or to weigh. The network is a quarter of nano, so that a row takes minutes.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { autoencoderSizes } from '../../models/networks/autoencoder.ts'
import { ditSizes } from '../../models/networks/dit.ts'
import { textEncoderSizes } from '../../models/networks/text-encoder.ts'
import { nodeBackend } from '../../models/node/backend.ts'
import { denoiserSession } from '../../models/node/denoiser-session.ts'
import { denoisingErrors, judgedTimes } from '../../models/node/denoising-error.ts'
import { type LatentOptions, latentSet, unseenSet } from '../../models/node/latents.ts'
import { loadCard, releasedState } from '../../models/node/models.ts'
import { averaged, openRun } from '../../models/node/runs.ts'
import { type DenoiserRun, trainDenoiser } from '../../models/node/train-denoiser.ts'
import { vocabularySize } from '../../models/text/tokenizer.ts'
import { captionTokens } from '../../models/world/captions.ts'

type Recipe = Pick<
  DenoiserRun,
  'optimizer' | 'learningRate' | 'prediction' | 'weighting' | 'focus' | 'shift' | 'choice' | 'emaDecay' | 'decay'
>

const standard: Recipe = {
  optimizer: 'muon',
  learningRate: 0.002,
  prediction: 'sample',
  weighting: 'clamped',
  focus: 4,
  shift: 1,
  choice: undefined,
  emaDecay: 0.99,
  decay: 0.3,
}

const changes: readonly Partial<Recipe>[] = [
  {},
  { learningRate: 0.001 },
  { learningRate: 0.004 },
  { optimizer: 'adamw', learningRate: 0.001 },
  { optimizer: 'adamw' },
  { weighting: 'minSnr' },
  { weighting: 'truncated' },
  { weighting: 'velocity' },
  { prediction: 'velocity', weighting: 'velocity' },
  { prediction: 'noise', weighting: 'noise' },
  { shift: 3 },
  { focus: 0 },
  { decay: 0 },
  // An average remembers (1 + n)/(10 + n) after n steps, 0.978 after 400: larger decays would change nothing.
  { decay: 0, emaDecay: 0.9 },
]

const batch = 48
const config = {
  ...ditSizes.nano,
  width: 128,
  depth: 4,
  heads: 2,
  local: { width: 48, before: 1, after: 2, passes: 16 },
}
const text = { ...textEncoderSizes.nano, vocabulary: vocabularySize }

const { values } = parseArgs({ options: { steps: { type: 'string', default: '400' } } })
const steps = Number(values.steps)
if (!Number.isInteger(steps) || steps < 100)
  throw new RangeError(`--steps: got ${values.steps}, allowed is a whole number from 100`)
const folder = await mkdtemp(join(tmpdir(), 'zoetrope-recipes-'))
process.env.ZOETROPE_CACHE = folder
const backend = nodeBackend()
const signal = new AbortController().signal
const latents: LatentOptions = {
  config: autoencoderSizes.stickers,
  parameters: await releasedState(await loadCard('zt-nano-teacher')),
  backend,
  count: 8000,
  frames: 1,
  side: 64,
  signal,
  progress: () => {},
}
const pictures = await latentSet(latents)
const unseen = await unseenSet({ ...latents, count: 256 })

async function rowOf(change: Partial<Recipe>, index: number): Promise<string> {
  const recipe = { ...standard, ...change }
  const [run, part] = [`recipe-${index}`, { name: 'image', batch, frames: 1, tokens: captionTokens.picture }]
  await trainDenoiser({
    ...recipe,
    config,
    text,
    set: pictures,
    pictures,
    backend,
    run,
    seed: 1,
    stages: [{ steps, parts: [{ ...part, share: 1 }] }],
    facts: {},
    signal,
    point: () => {},
  })
  const { state, curve } = await openRun(run)
  const judged = { ...part, batch: unseen.count, set: unseen }
  await using session = await denoiserSession({
    ...judged,
    backend,
    config,
    text,
    prediction: recipe.prediction,
    parameters: averaged(state),
    shape: [unseen.count, unseen.channels, 1, unseen.height, unseen.width],
    seed: 1,
  })
  const errors = await denoisingErrors(session, judged)
  const said = Object.entries(change).map(([name, value]) => `${name} ${value}`)
  const quickest = Math.round(Math.min(...curve.map(({ ms }) => ms)))
  return `| ${[said.join(', ') || 'as below', quickest, ...errors.map(({ error }) => error.toFixed(4))].join(' | ')} |`
}

console.log(`| change | ms a step | ${judgedTimes.map((time) => `t ${time}`).join(' | ')} |`)
console.log(`|${'---|'.repeat(judgedTimes.length + 2)}`)
for (const [index, change] of changes.entries()) console.log(await rowOf(change, index))
console.log(
  `as below: ${Object.entries(standard)
    .map(([name, value]) => `${name} ${value ?? 'none'}`)
    .join(', ')}; ${steps} steps of ${batch}`,
)
await rm(folder, { recursive: true })
