/**
 * The words of the sticker world as one table: how each attribute may be said, the plainest way first.
 *
 * captions.ts writes from it and reads by it, the tokenizer takes its words from it. Phrases are lower case, words
 * parted by single spaces.
 */

import type { Action, Camera, Colour, Puppet, Scene } from './vocabulary.ts'

type Phrases = readonly [string, ...string[]]

export const puppetWords: Readonly<Record<Puppet, Phrases>> = {
  fox: ['fox'],
  cat: ['cat', 'kitten'],
  dog: ['dog', 'puppy'],
  rabbit: ['rabbit', 'bunny'],
  bear: ['bear'],
  frog: ['frog'],
  bird: ['bird'],
  fish: ['fish'],
  whale: ['whale'],
  butterfly: ['butterfly'],
  snail: ['snail'],
  crab: ['crab'],
  ghost: ['ghost'],
  robot: ['robot'],
  rocket: ['rocket', 'spaceship'],
  car: ['car'],
  boat: ['boat', 'ship'],
  balloon: ['balloon'],
  ball: ['ball'],
  star: ['star'],
  flower: ['flower'],
  mushroom: ['mushroom'],
  cup: ['cup', 'mug'],
  umbrella: ['umbrella'],
}

export const colourWords: Readonly<Record<Colour, Phrases>> = {
  red: ['red'],
  orange: ['orange'],
  yellow: ['yellow'],
  green: ['green'],
  blue: ['blue'],
  purple: ['purple', 'violet'],
  pink: ['pink'],
  white: ['white'],
}

/** What moving is called for each puppet; every puppet may also simply move. */
export const movingWords: Readonly<Record<Puppet, Phrases>> = {
  fox: ['runs', 'walks'],
  cat: ['runs', 'walks'],
  dog: ['runs', 'walks'],
  rabbit: ['runs'],
  bear: ['walks', 'runs'],
  frog: ['moves'],
  bird: ['flies'],
  fish: ['swims'],
  whale: ['swims'],
  butterfly: ['flies'],
  snail: ['crawls'],
  crab: ['walks', 'crawls'],
  ghost: ['floats', 'flies'],
  robot: ['walks'],
  rocket: ['flies'],
  car: ['drives'],
  boat: ['sails', 'swims'],
  balloon: ['floats', 'flies'],
  ball: ['rolls'],
  star: ['floats'],
  flower: ['moves'],
  mushroom: ['moves'],
  cup: ['slides'],
  umbrella: ['floats'],
}

export const directionWords = {
  left: ['left', 'to the left'],
  right: ['right', 'to the right'],
  up: ['up', 'upwards'],
  down: ['down', 'downwards'],
} as const satisfies Record<string, Phrases>

export const paceWords = { slowly: ['slowly'], quickly: ['quickly', 'fast'] } as const satisfies Record<string, Phrases>

export const stayingWords: Readonly<Record<Exclude<Action, `moves${string}`>, Phrases>> = {
  jumps: ['jumps', 'hops', 'bounces'],
  spins: ['spins', 'turns around', 'rotates'],
  grows: ['grows', 'gets bigger'],
  shrinks: ['shrinks', 'gets smaller'],
  shakes: ['shakes', 'trembles', 'wobbles'],
  'stands still': ['stands still', 'stays still', 'rests'],
}

export const sceneWords: Readonly<Record<Scene, Phrases>> = {
  meadow: ['in the meadow', 'in a meadow', 'over the meadow', 'on the grass'],
  sea: ['over the sea', 'at the sea', 'over the water', 'in the ocean'],
  desert: ['in the desert', 'over the desert', 'on the sand'],
  snow: ['in the snow', 'through the snow', 'in winter'],
  'night sky': ['in the night sky', 'at night', 'under the stars', 'at night under the stars'],
  city: ['in the city', 'through the city', 'in town'],
  forest: ['in the forest', 'through the forest', 'in the woods'],
  room: ['in the room', 'in a room', 'at home'],
}

export const cameraWords: Readonly<Record<Camera, Phrases>> = {
  still: ['the camera is still', 'still camera'],
  'pans left': ['the camera pans left', 'camera pans left'],
  'pans right': ['the camera pans right', 'camera pans right'],
  'zooms in': ['the camera zooms in', 'camera zooms in'],
  'zooms out': ['the camera zooms out', 'camera zooms out'],
}

/** Nouns that name a scene by themselves: "a fox, desert". Longer names first where one holds another. */
export const sceneNouns: Readonly<Record<Scene, Phrases>> = {
  'night sky': ['night', 'stars', 'moonlight'],
  meadow: ['meadow', 'grass', 'field'],
  sea: ['sea', 'ocean', 'water', 'waves'],
  desert: ['desert', 'sand', 'dunes'],
  snow: ['snow', 'winter', 'ice'],
  city: ['city', 'town', 'street'],
  forest: ['forest', 'woods', 'trees'],
  room: ['room', 'home', 'indoors'],
}

/** What each puppet does of its own accord in every clip: a detail of dense captions. */
export const lifeWords: Readonly<Record<Puppet, string>> = {
  fox: 'its tail swings',
  cat: 'its tail swings',
  dog: 'its tail wags',
  rabbit: 'its ears sway',
  bear: 'its arms swing',
  frog: 'it breathes',
  bird: 'its wings flap',
  fish: 'its tail swings',
  whale: 'its tail swings',
  butterfly: 'its wings flap',
  snail: 'its head stretches',
  crab: 'its claws snap',
  ghost: 'its hem sways',
  robot: 'its lamp blinks',
  rocket: 'its flame flickers',
  car: 'its wheels roll',
  boat: 'its sails sway',
  balloon: 'its string sways',
  ball: 'its stripes turn',
  star: 'its eyes blink',
  flower: 'its petals sway',
  mushroom: 'its eyes blink',
  cup: 'it steams',
  umbrella: 'its edge sways',
}

/** Words that other forms of speech bring along; they ask for nothing. */
export const looseWords = [
  'a',
  'an',
  'the',
  'and',
  'of',
  'it',
  'is',
  'its',
  'with',
  'while',
  'sticker',
  'video',
  'picture',
  'clip',
  'animation',
  'little',
  'cute',
  'moves',
  'small',
  'big',
] as const

/**
 * The stem under which the forms of a word meet: "flying", "flies" and "fly" are one, as are "foxes" and "fox".
 * Crude on purpose; both sides of every comparison go through it.
 */
export function stem(word: string): string {
  const bare = word.length > 5 && word.endsWith('ing') ? word.slice(0, -3) : word.replace(/ies$/, 'y')
  return bare
    .replace(/([^s])s$/, '$1')
    .replace(/([bdgmnprt])\1$/, '$1')
    .replace(/(.{2})e$/, '$1')
}

/** Every word of the table, sorted: the tokenizer's known words. */
export function allWords(): readonly string[] {
  const tables = [
    puppetWords,
    colourWords,
    movingWords,
    directionWords,
    paceWords,
    stayingWords,
    sceneWords,
    cameraWords,
    sceneNouns,
    lifeWords,
  ]
  const phrases = tables.flatMap((table) => Object.values(table).flat())
  return [...new Set([...phrases, ...looseWords].flatMap((phrase) => phrase.split(' ')))].sort()
}
