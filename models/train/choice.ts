/**
 * Which clips a batch is made of: all alike, or some that are hard to learn more often than others.
 *
 * How often a clip comes may depend on what its caption says, never on its pixels: so the clips of a caption are still
 * drawn as the world has them, and the mean that a denoiser learns for it stays where it is. Only what a caption leaves
 * out comes as often as it is drawn. Knows no latents and no noise.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { RandomStream } from '../../shared/random.ts'
import { type Attributes, attributeNames, attributeValues } from '../world/vocabulary.ts'

/** How many times as often clips with a value are drawn as they would be; the factors of several values multiply. */
export type Emphasis = { readonly [A in keyof Attributes]?: Readonly<Partial<Record<Attributes[A], number>>> }

/** The index of the next clip. */
export type ClipChoice = (random: RandomStream) => number

interface Clips {
  readonly count: number
  readonly attributes: (index: number) => Attributes
}

export function anyOf({ count }: Pick<Clips, 'count'>): ClipChoice {
  return (random) => random.integer(count)
}

/** Draws by the running sum of the factors, so a choice costs one search however uneven they are. */
export function moreOften({ count, attributes }: Clips, emphasis: Emphasis): ClipChoice {
  const sums = new Float64Array(count)
  let total = 0
  for (let index = 0; index < count; index++) {
    total += factorOf(emphasis, attributes(index))
    sums[index] = total
  }
  if (!(total > 0))
    throw new GenerationError(
      'invalid_parameter',
      `emphasis: got factors of 0 for each of ${count} clips, allowed are such as leave some`,
    )
  return (random) => firstAbove(sums, random.uniform() * total)
}

function factorOf(emphasis: Emphasis, attributes: Attributes): number {
  const factors = attributeNames.map((name) => {
    const table: Readonly<Partial<Record<string, number>>> = emphasis[name] ?? {}
    return table[attributes[name]] ?? 1
  })
  return factors.reduce((product, factor) => product * factor, 1)
}

/** The first index whose sum is above a value; sums do not fall, and the last is above it. */
function firstAbove(sums: Float64Array, value: number): number {
  let [low, high] = [0, sums.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sums[middle] as number) > value) high = middle
    else low = middle + 1
  }
  return low
}

/** Reads `camera=still:0.25,action=shakes:3`; `option` is whose text it is. Nothing emphasises nothing. */
export function parseEmphasis(option: string, text: string): Emphasis {
  const refused = (got: string, allowed: string) =>
    new GenerationError('invalid_parameter', `${option}: got ${JSON.stringify(got)}, allowed are ${allowed}`)
  const tables: Partial<Record<keyof Attributes, Record<string, number>>> = {}
  for (const item of text === '' ? [] : text.split(',')) {
    const [, left, value, right] = /^\s*(\w+)=([\w ]+?):([\d.]+)\s*$/.exec(item) ?? []
    const name = attributeNames.find((each) => each === left)
    if (name === undefined || value === undefined)
      throw refused(item, `items like camera=still:0.25, of ${attributeNames.join(', ')}`)
    const values: readonly string[] = attributeValues[name]
    if (!values.includes(value)) throw refused(item, `as ${name} ${values.join(', ')}`)
    const factor = Number(right)
    if (!(factor >= 0 && factor <= 100)) throw refused(item, 'factors from 0 to 100')
    if (tables[name]?.[value] !== undefined) throw refused(item, 'values named once')
    tables[name] = { ...tables[name], [value]: factor }
  }
  return tables
}
