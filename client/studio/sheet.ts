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

/** Builds the sheet into `place`; `write` is given a new prompt. */
export function createSheet(place: HTMLElement, write: (prompt: string) => void): Sheet {
  let said: Partial<Attributes> = {}
  const buttons = new Map<HTMLButtonElement, Partial<Attributes>>()
  const word = (attribute: Partial<Attributes>, label: string, content: Node | string) => {
    const button = create('button', { type: 'button', className: 'word', title: label }, content)
    button.setAttribute('aria-label', label)
    button.addEventListener('click', () => write(promptOf({ ...said, ...attribute })))
    buttons.set(button, attribute)
    return button
  }
  const group = (name: string, kind: string, words: readonly HTMLButtonElement[]) =>
    create('fieldset', { className: `words ${kind}` }, create('legend', {}, name), create('div', {}, ...words))

  const drawings = new Map(puppets.map((puppet) => [puppet, create('canvas', { width: 72, height: 72 })]))
  const swatch = (colour: Colour) => {
    const dot = create('span', { className: 'swatch' })
    dot.style.backgroundColor = `rgb(${colourValues[colour].join(' ')})`
    return dot
  }
  place.replaceChildren(
    group('Who', 'puppets', puppets.map((puppet) => word({ puppet }, puppet, drawings.get(puppet) as HTMLCanvasElement))),
    group('Colour', 'colours', colours.map((colour) => word({ colour }, colour, swatch(colour)))),
    group('Does', 'actions', actions.map((action) => word({ action }, action, action.replace('moves ', '')))),
    group('Where', 'scenes', scenes.map((scene) => word({ scene }, scene, scene))),
    group('Camera', 'cameras', cameras.map((camera) => word({ camera }, `camera ${camera}`, camera))),
  )
  let painted: Colour | undefined
  return {
    read: (prompt) => {
      said = parsePrompt(prompt)
      for (const [button, attribute] of buttons) {
        const [[name, value]] = Object.entries(attribute) as [[keyof Attributes, string]]
        button.setAttribute('aria-pressed', String(said[name] === value))
      }
      const colour = said.colour ?? usual.colour
      if (colour === painted) return
      painted = colour
      for (const [puppet, target] of drawings) drawSticker(target, puppet, colour)
    },
  }
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
