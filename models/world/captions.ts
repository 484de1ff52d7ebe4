/**
 * Captions of the sticker world: written from attributes, and read back from free text by the same table.
 *
 * Terse: "a blue bird flies left over the sea". Dense: a second sentence on camera, speed and detail. An attribute may
 * be left out, and is then free; the camera is still when unsaid, so a moving camera is always said.
 */

import { type RandomStream, randomStream } from '../../shared/random.ts'
import {
  cameraWords,
  colourWords,
  directionWords,
  movingWords,
  paceWords,
  puppetWords,
  sceneWords,
  stayingWords,
} from './grammar.ts'
import { type Action, type Attributes, cameras, colours, puppets, scenes } from './vocabulary.ts'

export interface Caption {
  readonly text: string
  /** What the text asks for. */
  readonly asked: Partial<Attributes>
}

export interface CaptionOptions {
  readonly style?: 'terse' | 'dense' | 'mixed'
  /** Leave single attributes out at random. */
  readonly omit?: boolean
  /** A still picture: no action and no camera. */
  readonly picture?: boolean
}

/** Says the attributes in one of many ways, chosen by the seed. */
export function caption(attributes: Attributes, seed: number, options: CaptionOptions = {}): Caption {
  const { style = 'mixed', omit = false, picture = false } = options
  const random = randomStream(seed, 6)
  const dense = style === 'dense' || (style === 'mixed' && random.chance(0.35))
  const says = (probability: number) => !omit || !random.chance(probability)
  const [colour, action, scene] = [says(0.06), !picture && says(0.05), says(0.06)]
  const subject = `${colour ? `${say(random, colourWords[attributes.colour])} ` : ''}${say(random, puppetWords[attributes.puppet])}`
  const opening = `${/^[aeiou]/.test(subject) ? 'an' : 'a'} ${subject}`
  const doing = action ? ` ${actionPhrase(attributes, random)}` : ''
  const place = scene ? ` ${say(random, sceneWords[attributes.scene])}` : ''
  const film = picture ? '' : cameraPhrase(attributes, random, dense)
  const detail = dense ? detailPhrase(attributes, random, action, colour) : ''
  return {
    text: `${opening}${doing}${place}${detail}${film}`,
    asked: {
      puppet: attributes.puppet,
      ...(colour || detail.includes(' is ') ? { colour: attributes.colour } : {}),
      ...(action ? { action: attributes.action } : {}),
      ...(scene ? { scene: attributes.scene } : {}),
      ...(picture ? {} : { camera: attributes.camera }),
    },
  }
}

/** The plainest way is taken half the time. */
function say(random: RandomStream, phrases: readonly [string, ...string[]]): string {
  return random.chance(0.5) ? phrases[0] : random.pick(phrases)
}

function actionPhrase({ puppet, action }: Attributes, random: RandomStream): string {
  const [verb, direction, pace] = action.split(' ')
  if (verb !== 'moves') return say(random, stayingWords[action as keyof typeof stayingWords])
  const moving = random.chance(0.25) ? 'moves' : say(random, movingWords[puppet])
  const way = say(random, directionWords[direction as keyof typeof directionWords])
  return pace === undefined
    ? `${moving} ${way}`
    : `${moving} ${way} ${say(random, paceWords[pace as keyof typeof paceWords])}`
}

function cameraPhrase({ camera }: Attributes, random: RandomStream, dense: boolean): string {
  if (camera === 'still' && !(dense && random.chance(0.5))) return ''
  return `${dense ? '. ' : ', '}${say(random, cameraWords[camera])}`
}

/** Says again what has been said, in other words. */
function detailPhrase(
  { puppet, colour, action }: Attributes,
  random: RandomStream,
  acts: boolean,
  coloured: boolean,
): string {
  const pace = action.split(' ')[2]
  if (acts && pace !== undefined && random.chance(0.6)) return `. it moves ${pace}`
  return coloured && random.chance(0.5) ? `. the ${puppet} is ${colour}` : '. a cute little sticker'
}

/**
 * The attributes that free text asks for, by the same table: case, punctuation and unknown words do not matter. The
 * camera is always given, since unsaid means still.
 */
export function parsePrompt(text: string): Partial<Attributes> {
  const words = ` ${normalise(text)} `
  const camera = cameras.find((each) => each !== 'still' && words.includes(` camera ${each} `)) ?? 'still'
  const rest = words.replace(/ camera (pans|zooms) \w+ /g, ' ').replace(/ (the )?camera is still | still camera /g, ' ')
  const find = <K extends string>(names: readonly K[], table: Readonly<Record<K, readonly string[]>>) =>
    names.find((name) => table[name].some((phrase) => rest.includes(` ${phrase} `) || rest.includes(` ${phrase}s `)))
  // "under the stars" names a sky, not a puppet; of several puppets the first one said is meant.
  const subjects = rest.replaceAll(' under the stars ', ' ')
  const puppet = puppets
    .map((name) => ({ name, place: firstPlace(subjects, puppetWords[name]) }))
    .filter(({ place }) => place >= 0)
    .sort((a, b) => a.place - b.place)[0]?.name
  const colour = find(colours, colourWords)
  const scene =
    scenes.find((name) => sceneWords[name].some((phrase) => rest.includes(` ${phrase} `))) ?? looseScene(rest)
  const action = parseAction(rest)
  return {
    ...(puppet === undefined ? {} : { puppet }),
    ...(colour === undefined ? {} : { colour }),
    ...(action === undefined ? {} : { action }),
    ...(scene === undefined ? {} : { scene }),
    camera,
  }
}

/** Where the first of the phrases, or its plural, begins; −1 where none does. */
function firstPlace(words: string, phrases: readonly string[]): number {
  const places = phrases.flatMap((phrase) => [words.indexOf(` ${phrase} `), words.indexOf(` ${phrase}s `)])
  return places.filter((place) => place >= 0).sort((a, b) => a - b)[0] ?? -1
}

/** NFC, lower case, letters and digits only, words parted by one space. */
export function normalise(text: string): string {
  return text
    .normalize('NFC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
}

function parseAction(rest: string): Action | undefined {
  const staying = (Object.keys(stayingWords) as (keyof typeof stayingWords)[]).find((action) =>
    stayingWords[action].some((phrase) => rest.includes(` ${phrase} `)),
  )
  if (staying !== undefined) return staying
  const directions = Object.keys(directionWords) as (keyof typeof directionWords)[]
  const direction = directions.find((way) => directionWords[way].some((phrase) => rest.includes(` ${phrase} `)))
  if (direction === undefined) return undefined
  const paces = Object.keys(paceWords) as (keyof typeof paceWords)[]
  const pace = paces.find((each) => paceWords[each].some((phrase) => rest.includes(` ${phrase} `)))
  return pace === undefined ? `moves ${direction}` : `moves ${direction} ${pace}`
}

/** A scene named by its bare noun: "a fox, desert". */
function looseScene(rest: string): Attributes['scene'] | undefined {
  const nouns = {
    ocean: 'sea',
    water: 'sea',
    grass: 'meadow',
    sand: 'desert',
    winter: 'snow',
    night: 'night sky',
    stars: 'night sky',
    town: 'city',
    woods: 'forest',
    home: 'room',
  } as const
  const named = scenes.find((scene) => rest.includes(` ${scene} `))
  const noun = (Object.keys(nouns) as (keyof typeof nouns)[]).find((word) => rest.includes(` ${word} `))
  return named ?? (noun === undefined ? undefined : nouns[noun])
}

/** Recaptioning for use: a terse prompt in the dense style (survey of Sora, "descriptive captions"). */
export function expandPrompt(text: string): string {
  const asked = parsePrompt(text)
  const camera = asked.camera ?? 'still'
  const said = normalise(text).includes('camera')
  const pace = asked.action?.split(' ')[2]
  const details = [pace === undefined ? undefined : `it moves ${pace}`, said ? undefined : cameraWords[camera][0]]
  return [text.trim().replace(/[.\s]+$/, ''), ...details.filter((each) => each !== undefined)].join('. ')
}
