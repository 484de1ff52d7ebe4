/**
 * The form's choices: what the site's models take, offered as options, and read back as a request.
 */

import type { ModelState, VideoRequest } from '../index.ts'
import { byId, fill } from './elements.ts'

const choice = (id: string) => byId(id, HTMLSelectElement)
const entry = (id: string) => byId(id, HTMLInputElement)

let models: readonly ModelState[] = []

/** The models of this site, and what the chosen one takes. */
export function offerModels(offered: readonly ModelState[]): void {
  // The standard model first: a list of choices begins with what it chooses.
  models = [...offered].sort((one, other) => Number(other.standard) - Number(one.standard))
  const title = ({ card, cached }: ModelState) => `${card.id}${cached ? '' : ` (${megabytes(sizeOf(card))} to fetch)`}`
  fill(
    choice('model'),
    models.map((model) => [model.card.id, title(model)]),
  )
  offerParameters()
}

const sizeOf = (card: ModelState['card']) => Object.values(card.weights).reduce((sum, { bytes }) => sum + bytes, 0)
export const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`
/** The models of this site. */
export const offered = (): readonly ModelState[] => models
/** The chosen model's card. */
export const chosen = () => models.find(({ card }) => card.id === choice('model').value)?.card

/** What the chosen model takes, its own defaults first. */
export function offerParameters(): void {
  const card = chosen()
  if (card === undefined) return
  const { size, num_frames: frames, fps, num_inference_steps: steps, guidance_scale: guidance } = card.parameters
  const [side] = size.default.split('x').map(Number) as [number]
  const half = Math.round((side * 1.5) / size.multiple) * size.multiple
  const sizes = [size.default, `${half}x${side}`, `${side}x${half}`, `${2 * side}x${2 * side}`]
  fill(
    choice('size'),
    sizes.map((each) => [each, each.replace('x', ' × ')]),
  )
  const lengths = [frames.default, 1, 9, 17, 33, 49].filter((each) => each >= frames.min && each <= frames.max)
  const length = (each: number) =>
    each === 1 ? 'one picture' : `${((each - 1) / fps.default).toFixed(1)} s, ${each} frames`
  fill(
    choice('frames'),
    [...new Set(lengths)].map((each) => [String(each), length(each)]),
  )
  const counts =
    steps.values ?? [steps.default, 4, 8, 16, 32, 64].filter((each) => each >= steps.min && each <= steps.max)
  fill(
    choice('steps'),
    [...new Set([steps.default, ...counts])].map((each) => [String(each), String(each)]),
  )
  Object.assign(entry('guidance'), { min: guidance.min, max: guidance.max, placeholder: String(guidance.default) })
}

/** The request that the form asks for; what is left open is left to the model. */
export function requestOf(): VideoRequest {
  const number = (value: string) => (value.trim() === '' ? undefined : Number(value))
  const fields = {
    prompt: byId('prompt', HTMLTextAreaElement).value,
    model: choice('model').value || undefined,
    size: choice('size').value || undefined,
    numFrames: number(choice('frames').value),
    numInferenceSteps: number(choice('steps').value),
    seed: number(entry('seed').value),
    guidanceScale: number(entry('guidance').value),
    negativePrompt: entry('negative').value || undefined,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
