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
  lifeWords,
  movingWords,
  paceWords,
  puppetWords,
  sceneNouns,
  sceneWords,
  stayingWords,
  stem,
} from './grammar.ts'
import { type Action, type Attributes, type Camera, colours, scenes } from './vocabulary.ts'

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

/** Tokens that the longest captions need, for a batch of one shape; a test holds the grammar to them. */
export const captionTokens = { picture: 14, film: 20 } as const

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

/** Says again what has been said, or what the puppet does by itself. */
function detailPhrase(
  { puppet, colour, action }: Attributes,
  random: RandomStream,
  acts: boolean,
  coloured: boolean,
): string {
  const pace = action.split(' ')[2]
  if (acts && pace !== undefined && random.chance(0.6)) return `. it moves ${pace}`
  return coloured && random.chance(0.3) ? `. the ${puppet} is ${colour}` : `. ${lifeWords[puppet]}`
}

/**
 * The attributes that free text asks for, by the same table: case, punctuation, other forms of a word ("flying",
 * "foxes") and unknown words do not matter. The camera is always given, since unsaid means still.
 */
export function parsePrompt(text: string): Partial<Attributes> {
  const words = ` ${normalise(text)} `
  const camera = parseCamera(stemmed(words))
  const scene = parseScene(words)
  // "under the stars" names a sky, not a puppet.
  const rest = withoutCamera(stemmed(words.replaceAll(/ (under|among) (the )?stars /g, ' ')))
  const puppet = parsePuppet(rest)
  const colour = parseColour(rest, puppet?.place ?? rest.length)
  const action = parseAction(rest)
  return {
    ...(puppet === undefined ? {} : { puppet: puppet.name }),
    ...(colour === undefined ? {} : { colour }),
    ...(action === undefined ? {} : { action }),
    ...(scene === undefined ? {} : { scene }),
    camera,
  }
}

const stemmed = (words: string): string => words.replace(/\S+/g, stem)

/** Where a phrase begins in stemmed words; −1 where it is not. */
const placeOf = (words: string, phrase: string): number => words.indexOf(stemmed(` ${phrase} `))

/** Where the first of the phrases begins. */
function firstPlace(words: string, phrases: readonly string[]): number {
  const places = phrases.map((phrase) => placeOf(words, phrase)).filter((place) => place >= 0)
  return places.length === 0 ? -1 : Math.min(...places)
}

/** The first name said, and where. */
function firstNamed<K extends string>(words: string, table: Readonly<Record<K, readonly string[]>>) {
  return (Object.keys(table) as K[])
    .map((name) => ({ name, place: firstPlace(words, table[name]) }))
    .filter(({ place }) => place >= 0)
    .sort((a, b) => a.place - b.place)[0]
}

const parsePuppet = (rest: string) => firstNamed(rest, puppetWords)

/** On stems ("the" is "th"). "Zooms in" without a camera is a camera's too, but "zooms in the city" is not. */
const panOrZoom = / (?:(?:th )?camera )?(?:(pan) (?:to th )?(left|right)|(zoom) (in|out)(?! (?:th|a|an) )) /

function parseCamera(words: string): Camera {
  const found = panOrZoom.exec(words)
  if (found === null) return 'still'
  return (found[1] === undefined ? `zooms ${found[4]}` : `pans ${found[2]}`) as Camera
}

const withoutCamera = (words: string): string =>
  words
    .replace(panOrZoom, ' ')
    .replace(/ (th )?camera (is )?still /g, ' ')
    .replace(/ still camera /g, ' ')

/** The scene phrases of captions first, then bare nouns. */
function parseScene(words: string): Attributes['scene'] | undefined {
  const phrase = firstNamed(stemmed(words), sceneWords)
  if (phrase !== undefined) return phrase.name
  return scenes.find((scene) => sceneNouns[scene].some((noun) => words.includes(` ${noun} `)))
}

/** The colour said nearest before the puppet, else the first after it; a scenery's own colour is not the puppet's. */
function parseColour(rest: string, puppetPlace: number): Attributes['colour'] | undefined {
  const said = colours
    .flatMap((colour) =>
      colourWords[colour].flatMap((word) => placesOf(rest, word).map((place) => ({ colour, place }))),
    )
    .filter(
      ({ place }) =>
        !/^ \S+ (sea|snow|sky|gras|sand|ocean|water|wav|meadow|desert|forest|room) /.test(rest.slice(place)),
    )
    .sort((a, b) => a.place - b.place)
  return (said.filter(({ place }) => place < puppetPlace).at(-1) ?? said[0])?.colour
}

function placesOf(words: string, word: string): number[] {
  const sought = stemmed(` ${word} `)
  const places: number[] = []
  for (let at = words.indexOf(sought); at >= 0; at = words.indexOf(sought, at + 1)) places.push(at)
  return places
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
  const staying = firstNamed(rest, stayingWords)
  if (staying !== undefined) return staying.name
  const direction = firstNamed(rest, directionWords)
  if (direction === undefined) return undefined
  const pace = firstNamed(rest, paceWords)
  return pace === undefined ? `moves ${direction.name}` : `moves ${direction.name} ${pace.name}`
}

/**
 * Recaptioning for use: a terse prompt in the dense style that training mixes in (Betker et al. 2023, "Improving image
 * generation with better captions"). Adds what the text leaves unsaid but means: pace, own life, a still camera.
 */
export function expandPrompt(text: string): string {
  const said = normalise(text)
  if (said === '') return ''
  const asked = parsePrompt(text)
  const pace = asked.action?.split(' ')[2]
  const life = asked.puppet === undefined ? undefined : lifeWords[asked.puppet]
  const details = [
    pace === undefined ? life : `it moves ${pace}`,
    asked.camera !== 'still' || said.includes('camera') ? undefined : cameraWords.still[0],
  ]
  return [text.trim().replace(/[.!?\s]+$/, ''), ...details.filter((each) => each !== undefined)].join('. ')
}
