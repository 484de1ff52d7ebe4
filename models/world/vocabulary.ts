/**
 * The sticker world's vocabulary, and which of its triples no model may learn from.
 *
 * Fixed in version 1, so that models, oracles and prompts can be compared across time. Knows no words of captions
 * (grammar.ts) and no looks (puppets.ts, scenes.ts).
 */

import { randomStream } from '../../shared/random.ts'

export const puppets = [
  'fox',
  'cat',
  'dog',
  'rabbit',
  'bear',
  'frog',
  'bird',
  'fish',
  'whale',
  'butterfly',
  'snail',
  'crab',
  'ghost',
  'robot',
  'rocket',
  'car',
  'boat',
  'balloon',
  'ball',
  'star',
  'flower',
  'mushroom',
  'cup',
  'umbrella',
] as const
export const colours = ['red', 'orange', 'yellow', 'green', 'blue', 'purple', 'pink', 'white'] as const
export const actions = [
  'moves left',
  'moves left slowly',
  'moves left quickly',
  'moves right',
  'moves right slowly',
  'moves right quickly',
  'moves up',
  'moves up slowly',
  'moves up quickly',
  'moves down',
  'moves down slowly',
  'moves down quickly',
  'jumps',
  'spins',
  'grows',
  'shrinks',
  'shakes',
  'stands still',
] as const
export const scenes = ['meadow', 'sea', 'desert', 'snow', 'night sky', 'city', 'forest', 'room'] as const
export const cameras = ['still', 'pans left', 'pans right', 'zooms in', 'zooms out'] as const

export type Puppet = (typeof puppets)[number]
export type Colour = (typeof colours)[number]
export type Action = (typeof actions)[number]
export type Scene = (typeof scenes)[number]
export type Camera = (typeof cameras)[number]

export interface Attributes {
  readonly puppet: Puppet
  readonly colour: Colour
  readonly action: Action
  readonly scene: Scene
  readonly camera: Camera
}

/** What each attribute may be. */
export const attributeValues = {
  puppet: puppets,
  colour: colours,
  action: actions,
  scene: scenes,
  camera: cameras,
} as const satisfies { readonly [A in keyof Attributes]: readonly Attributes[A][] }

export const attributeNames = Object.keys(attributeValues) as (keyof Attributes)[]

export type Split = 'seen' | 'held-out' | 'all'

/** Whether the triple is kept from all training: one in ten, by hash. */
export function heldOut({ puppet, colour, action }: Pick<Attributes, 'puppet' | 'colour' | 'action'>): boolean {
  return fnv1a(`${puppet} ${colour} ${action}`) % 10 === 3
}

/** Uniform over the vocabulary within the split; the same seed gives the same attributes. */
export function sampleAttributes(seed: number, split: Split): Attributes {
  const random = randomStream(seed, 1)
  for (;;) {
    const attributes: Attributes = {
      puppet: random.pick(puppets),
      colour: random.pick(colours),
      action: random.pick(actions),
      scene: random.pick(scenes),
      // Still is what most prompts mean, so it comes as often as all moves together.
      camera: random.chance(0.5) ? 'still' : random.pick(cameras.slice(1)),
    }
    if (split === 'all' || heldOut(attributes) === (split === 'held-out')) return attributes
  }
}

/** FNV-1a, 32 bits, over UTF-8 (the vocabulary is ASCII). */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash
}
