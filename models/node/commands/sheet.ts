/**
 * `zoetrope sheet`: contact sheets. Of models: the same captions by each of them, side by side. Of the world: puppets,
 * scenes and actions as the renderer draws them.
 */

import { resolve } from 'node:path'
import { effectiveRequest } from '../../../shared/generation.ts'
import { caption } from '../../world/captions.ts'
import { type Frames, renderClip } from '../../world/renderer.ts'
import { type Attributes, actions, colours, puppets, sampleAttributes, scenes } from '../../world/vocabulary.ts'
import { nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { defaultModel, loadCard, loadModel } from '../models.ts'
import { encodeVideo, extensionOf, requireWritable, writeVideo } from '../video-file.ts'
import { collect } from './generate.ts'

export const sheetCommand: Command = {
  summary: 'Draw a contact sheet of models, or of the sticker world itself.',
  usage: '-o FILE [options]',
  options: {
    output: {
      kind: 'text',
      short: 'o',
      value: 'FILE',
      help: '.gif or .webp moves, .png shows the middle frame (sheet.gif)',
    },
    models: {
      kind: 'text',
      value: 'IDS',
      help: `which models, parted by commas (${defaultModel}-teacher,${defaultModel})`,
    },
    clips: { kind: 'number', value: 'N', help: 'how many clips of each (24)' },
    columns: { kind: 'number', value: 'N', help: 'clips in a row (6)' },
    seed: { kind: 'number', value: 'N', help: 'seed of captions and clips (7)' },
    world: { kind: 'flag', help: 'draw the world: every puppet and every action' },
  },
  run: async (given, surroundings) => {
    const path = resolve(given.text('output') ?? 'sheet.gif')
    const extension = extensionOf(path)
    await requireWritable(path)
    const tiles = given.flag('world') ? worldTiles() : await modelTiles(given, surroundings)
    const sheet = joined(tiles, given.number('columns') ?? (given.flag('world') ? 8 : 6))
    const shown = extension === '.png' ? middle(sheet) : sheet
    await writeVideo(path, await encodeVideo({ ...shown, fps: 8 }, extension))
    surroundings.say(`${path}  (${tiles.length} tiles)`)
    surroundings.emit({ output: path, tiles: tiles.length })
  },
}

/** Every puppet in every colour's turn, then every action. */
function worldTiles(): Frames[] {
  const size = { height: 96, width: 96 }
  const still = puppets.map(
    (puppet, n): Attributes => ({
      puppet,
      colour: pick(colours, n),
      action: 'stands still',
      scene: pick(scenes, 3 * n + (n >> 3)),
      camera: 'still',
    }),
  )
  const moving = actions.map(
    (action, n): Attributes => ({
      puppet: pick(puppets, 5 * n),
      colour: pick(colours, 3 * n),
      action,
      scene: pick(scenes, n),
      camera: n % 3 === 0 ? 'pans right' : 'still',
    }),
  )
  return [...still, ...moving].map((attributes, n) => renderClip(attributes, 5 + n, size))
}

const pick = <T>(list: readonly T[], index: number): T => list[index % list.length] as T

/** For each caption a pair (or more) of tiles: the models side by side, with the same seed. */
async function modelTiles(given: Arguments, { signal, show }: Surroundings): Promise<Frames[]> {
  const ids = (given.text('models') ?? `${defaultModel}-teacher,${defaultModel}`).split(',')
  const models = await Promise.all(ids.map(async (id) => loadModel(await loadCard(id))))
  const [count, seed, backend] = [given.number('clips') ?? 24, given.number('seed') ?? 7, nodeBackend()]
  const tiles: Frames[] = []
  for (let n = 0; n < count; n++) {
    const prompt = caption(sampleAttributes(seed * 1000 + n, 'all'), seed * 1000 + n, { style: 'terse' }).text
    for (const model of models)
      tiles.push(
        await collect(model, backend, effectiveRequest({ prompt, seed: seed + n }, model.card, seed), signal, () => {}),
      )
    show(`clip ${n + 1}/${count}`)
  }
  return side(tiles, models.length)
}

/** Joins each group of tiles into one wider tile. */
function side(tiles: readonly Frames[], group: number): Frames[] {
  return Array.from({ length: tiles.length / group }, (_, n) =>
    joined(tiles.slice(n * group, (n + 1) * group), group, 0),
  )
}

/** Lays clips of one size out in rows, frame by frame, on white. */
function joined(tiles: readonly Frames[], columns: number, gap = 4): Frames {
  const [first] = tiles
  if (first === undefined) throw new RangeError('sheet: got no tiles, wants at least one')
  const rows = Math.ceil(tiles.length / columns)
  const across = Math.min(columns, tiles.length)
  const [width, height] = [across * (first.width + gap) - gap, rows * (first.height + gap) - gap]
  const pixels = new Uint8Array(first.frames * width * height * 3).fill(255)
  for (const [n, tile] of tiles.entries()) {
    const [left, top] = [(n % columns) * (tile.width + gap), Math.floor(n / columns) * (tile.height + gap)]
    for (let line = 0; line < tile.frames * tile.height; line++) {
      const [frame, row] = [Math.floor(line / tile.height), line % tile.height]
      const from = line * tile.width * 3
      pixels.set(tile.pixels.subarray(from, from + tile.width * 3), ((frame * height + top + row) * width + left) * 3)
    }
  }
  return { frames: first.frames, height, width, pixels }
}

function middle({ frames, height, width, pixels }: Frames): Frames {
  const size = height * width * 3
  const at = (frames >> 1) * size
  return { frames: 1, height, width, pixels: pixels.subarray(at, at + size) }
}
