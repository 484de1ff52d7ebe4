/**
 * The sticker sheet: every word the model knows, to be put into the prompt by a press.
 *
 * Puppets are drawn by the sticker world's own renderer in the chosen colour, so the sheet shows what a word means. It
 * reads the prompt as the model's oracles do and presses what is said there.
 */

import { caption, parsePrompt } from '../../models/world/captions.ts'
import { canvas as rasterOf } from '../../models/world/draw.ts'
import { colourValues, paintSticker, stickerMask } from '../../models/world/sticker.ts'
import {
  type Attributes,
  actions,
  type Colour,
  cameras,
  colours,
  type Puppet,
  puppets,
  scenes,
} from '../../models/world/vocabulary.ts'
import { create } from './elements.ts'

export interface Sheet {
  /** Presses the words that a prompt says. */
  readonly read: (prompt: string) => void
}

const usual: Attributes = { puppet: 'bird', colour: 'blue', action: 'moves left', scene: 'sea', camera: 'still' }

/** A prompt that says the attributes plainly. */
export const promptOf = (said: Partial<Attributes>): string =>
  caption({ ...usual, ...said }, plainSeed, { style: 'terse' }).text

// With this seed the caption grammar takes the first phrase of each kind.
const plainSeed = 4

/** A word of the sheet: when it is pressed, and what a press says. */
interface Word {
  readonly label: string
  readonly content: Node | string
  readonly isSaid: (said: Partial<Attributes>) => boolean
  readonly says: (said: Partial<Attributes>) => Partial<Attributes>
}

/** Builds the sheet into `place`; `write` is given a new prompt. */
export function createSheet(place: HTMLElement, write: (prompt: string) => void): Sheet {
  let said: Partial<Attributes> = {}
  const buttons: (readonly [HTMLButtonElement, Word])[] = []
  const group = (name: string, kind: string, words: readonly Word[]) => {
    const row = words.map((word) => {
      const button = create('button', { type: 'button', className: 'word', title: word.label }, word.content)
      button.setAttribute('aria-label', word.label)
      button.addEventListener('click', () => write(promptOf({ ...said, ...word.says(said) })))
      buttons.push([button, word])
      return button
    })
    return create('fieldset', { className: `words ${kind}` }, create('legend', {}, name), create('div', {}, ...row))
  }
  const drawings = new Map(puppets.map((puppet) => [puppet, create('canvas', { width: 72, height: 72 })]))
  place.replaceChildren(
    group(
      'Who',
      'puppets',
      wordsOf('puppet', puppets, (puppet) => drawings.get(puppet) as HTMLCanvasElement),
    ),
    group('Colour', 'colours', wordsOf('colour', colours, swatch)),
    group('Does', 'actions', [...directions.map(directionWord), ...wordsOf('action', staying, (action) => action)]),
    group('Pace', 'paces', paces.map(paceWord)),
    group(
      'Where',
      'scenes',
      wordsOf('scene', scenes, (scene) => scene),
    ),
    group(
      'Camera',
      'cameras',
      wordsOf('camera', cameras, (camera) => camera),
    ),
  )
  let painted: Colour | undefined
  return {
    read: (prompt) => {
      said = parsePrompt(prompt)
      for (const [button, word] of buttons) button.setAttribute('aria-pressed', String(word.isSaid(said)))
      const colour = said.colour ?? usual.colour
      if (colour === painted) return
      painted = colour
      for (const [puppet, target] of drawings) drawSticker(target, puppet, colour)
    },
  }
}

const staying = actions.filter((action) => !action.startsWith('moves'))
const directions = ['left', 'right', 'up', 'down'] as const
const paces = ['slowly', 'at ease', 'quickly'] as const

function wordsOf<K extends keyof Attributes>(
  name: K,
  values: readonly Attributes[K][],
  content: (value: Attributes[K]) => Node | string,
): Word[] {
  return values.map((value) => ({
    label: name === 'camera' ? `camera ${value}` : value,
    content: content(value),
    isSaid: (said) => said[name] === value,
    says: () => ({ [name]: value }),
  }))
}

/** Direction and pace of a moving action; absent for one that stays. */
function movement({ action }: Partial<Attributes>): { direction?: string; pace?: string } {
  const [verb, direction, pace = 'at ease'] = action?.split(' ') ?? []
  return verb === 'moves' && direction !== undefined ? { direction, pace } : {}
}

const moves = (direction: string, pace: string) =>
  ({ action: `moves ${direction}${pace === 'at ease' ? '' : ` ${pace}`}` }) as Pick<Attributes, 'action'>

const directionWord = (direction: string): Word => ({
  label: direction,
  content: direction,
  isSaid: (said) => movement(said).direction === direction,
  says: (said) => moves(direction, movement(said).pace ?? 'at ease'),
})

const paceWord = (pace: string): Word => ({
  label: pace,
  content: pace,
  isSaid: (said) => movement(said).pace === pace,
  says: (said) => moves(movement(said).direction ?? 'left', pace),
})

function swatch(colour: Colour): HTMLElement {
  const dot = create('span', { className: 'swatch' })
  dot.style.backgroundColor = `rgb(${colourValues[colour].join(' ')})`
  return dot
}

/** One sticker on transparent ground. */
function drawSticker(target: HTMLCanvasElement, puppet: Puppet, colour: Colour): void {
  const { width, height } = target
  const transform = { x: width / 2, y: height / 2, scale: width * 0.38, rotation: 0, mirror: false }
  const pose = { time: 0, phase: 0 }
  const raster = rasterOf(width, height)
  paintSticker(raster, puppet, colour, pose, transform)
  const mask = stickerMask(puppet, pose, transform, width, height)
  const image = new ImageData(width, height)
  mask.forEach((coverage, pixel) => {
    image.data.set(raster.rgb.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel)
    image.data[4 * pixel + 3] = 255 * coverage
  })
  target.getContext('2d')?.putImageData(image, 0, 0)
}
