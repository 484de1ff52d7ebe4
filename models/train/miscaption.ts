/**
 * Captions that are wrong of a film by one attribute: what a judge of words learns from beside right ones (Reed et al.
 * 2016, 1605.05396). Knows no film.
 */

import type { RandomStream } from '../../shared/random.ts'
import { caption } from '../world/captions.ts'
import { type Attributes, attributeNames, attributeValues } from '../world/vocabulary.ts'

/** How often each is the wrong one, of twenty: what moves is what models get wrong, and is the hardest to tell. */
const shares = { puppet: 4, colour: 1, action: 7, scene: 1, camera: 7 } as const satisfies Record<
  keyof Attributes,
  number
>

const wrongOnes = attributeNames.flatMap((name) => new Array<keyof Attributes>(shares[name]).fill(name))

/** Of a film with these attributes; what is wrong is said, or, of a camera, told by saying nothing. */
export function miscaption(attributes: Attributes, random: RandomStream): string {
  for (;;) {
    const name = random.pick(wrongOnes)
    const others = (attributeValues[name] as readonly string[]).filter((value) => value !== attributes[name])
    const wrong = { ...attributes, [name]: random.pick(others) } as Attributes
    const { text, asked } = caption(wrong, random.integer(2 ** 31), { omit: true })
    if (asked[name] !== undefined) return text
  }
}
