/**
 * The stage: a clip played on a canvas, its frames as a strip below that can be scrubbed by pointer and keyboard; beside
 * it, where one is compared, a second clip in step.
 *
 * One clock moves both: a frame is shown by its time, so clips of different lengths stay together. Plays rough previews
 * while a clip is made and the clip itself after; knows not where frames come from.
 */

import { type Clip, rgbaOf } from '../frames.ts'
import { byId } from './elements.ts'

export interface Stage {
  /** Shows a clip alone, from its first frame; `label` is what screen readers hear. */
  readonly show: (clip: Clip, label: string) => void
  /** Shows another beside it, in step; also its previews, one after another. */
  readonly showBeside: (clip: Clip, label: string) => void
  /** Takes the one beside away. */
  readonly alone: () => void
  /** Replaces the pixels without restarting; for previews of one clip. */
  readonly refresh: (clip: Clip) => void
}

const icons = { pause: 'M7 5h4v14H7zM13 5h4v14h-4z', play: 'M8 5v14l11-7z' } as const
/** Whether the visitor wants nothing to move by itself. */
export const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches

export function createStage(): Stage {
  const strip = byId('strip', HTMLCanvasElement)
  const play = byId('play', HTMLButtonElement)
  const [first, second] = [screenOn(byId('canvas', HTMLCanvasElement)), screenOn(byId('beside', HTMLCanvasElement))]
  let [frame, playing, began] = [0, false, 0]

  const paint = () => {
    const clip = first.clip()
    if (clip === undefined) return drawStrip(strip, [], -1, 17)
    first.paint(frame)
    second.paint(Math.floor((frame / clip.fps) * (second.clip()?.fps ?? 1)))
    drawStrip(strip, first.images(), frame, clip.frames)
    strip.setAttribute('aria-valuenow', String(frame + 1))
    strip.setAttribute('aria-valuetext', `Frame ${frame + 1} of ${clip.frames}`)
  }
  const tick = (now: number) => {
    const clip = first.clip()
    if (!playing || clip === undefined) return
    const next = Math.floor(((now - began) / 1000) * clip.fps) % clip.frames
    if (next !== frame) {
      frame = next
      paint()
    }
    requestAnimationFrame(tick)
  }
  const setPlaying = (wanted: boolean) => {
    const clip = first.clip()
    playing = wanted && clip !== undefined
    play.setAttribute('aria-label', playing ? 'Pause' : 'Play')
    byId('play-icon', SVGPathElement as never).setAttribute('d', playing ? icons.pause : icons.play)
    if (!playing || clip === undefined) return
    began = performance.now() - (frame / clip.fps) * 1000
    requestAnimationFrame(tick)
  }
  const seek = (wanted: number) => {
    const clip = first.clip()
    if (clip === undefined) return
    setPlaying(false)
    frame = Math.max(0, Math.min(clip.frames - 1, wanted))
    paint()
  }
  const load = async (next: Clip) => {
    if (!(await first.load(next))) return
    frame = Math.min(frame, next.frames - 1)
    strip.setAttribute('aria-valuemax', String(next.frames))
    strip.removeAttribute('aria-disabled')
    byId('empty', HTMLElement).hidden = true
    play.hidden = false
    paint()
  }
  const alone = () => {
    second.clear()
    delete byId('screen', HTMLElement).dataset.pair
  }

  play.addEventListener('click', () => setPlaying(!playing))
  strip.addEventListener('keydown', (event) => {
    const last = (first.clip()?.frames ?? 1) - 1
    const wanted = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: last }[event.key]
    if (event.key === ' ') setPlaying(!playing)
    else if (wanted === undefined) return
    else seek(wanted)
    event.preventDefault()
  })
  strip.addEventListener('pointerdown', (event) => strip.setPointerCapture(event.pointerId))
  for (const kind of ['pointerdown', 'pointermove'] as const)
    strip.addEventListener(kind, (event) => {
      const clip = first.clip()
      if (clip === undefined || !strip.hasPointerCapture(event.pointerId)) return
      const { left, width } = strip.getBoundingClientRect()
      seek(Math.floor(((event.clientX - left) / width) * clip.frames))
    })
  new ResizeObserver(paint).observe(strip)

  return {
    show: (next, label) => {
      first.name(label)
      frame = 0
      void load(next).then(() => setPlaying(!still()))
    },
    showBeside: (next, label) => {
      second.name(label)
      byId('screen', HTMLElement).dataset.pair = ''
      void second.load(next).then(paint)
    },
    alone,
    refresh: (next) => {
      const wasEmpty = first.clip() === undefined
      void load(next).then(() => wasEmpty && setPlaying(!still()))
    },
  }
}

/** A canvas that shows a clip's frames. */
function screenOn(canvas: HTMLCanvasElement) {
  let clip: Clip | undefined
  let images: readonly ImageBitmap[] = []
  const put = (next: Clip | undefined, made: readonly ImageBitmap[]) => {
    for (const image of images) image.close()
    clip = next
    images = made
  }
  let wanted: Clip | undefined
  return {
    clip: () => clip,
    images: () => images,
    name: (label: string) => canvas.setAttribute('aria-label', label),
    paint: (frame: number) => clip !== undefined && drawFrame(canvas, images[frame % clip.frames]),
    clear: () => {
      wanted = undefined
      put(undefined, [])
    },
    /** Whether it is this clip that is shown now: a newer one may have come while its pictures were made. */
    load: async (next: Clip): Promise<boolean> => {
      wanted = next
      const made = await bitmapsOf(next)
      if (wanted === next) put(next, made)
      else for (const image of made) image.close()
      return wanted === next
    },
  }
}

const bitmapsOf = (clip: Clip): Promise<ImageBitmap[]> =>
  Promise.all(Array.from({ length: clip.frames }, (_, frame) => createImageBitmap(rgbaOf(clip, frame))))

/** One frame as large as it goes, its sides in proportion. */
function drawFrame(canvas: HTMLCanvasElement, image: ImageBitmap | undefined): void {
  const context = canvas.getContext('2d')
  if (context === null || image === undefined) return
  const scale = canvas.width / Math.max(image.width, image.height)
  const [width, height] = [image.width * scale, image.height * scale]
  context.imageSmoothingQuality = 'high'
  context.clearRect(0, 0, canvas.width, canvas.height)
  context.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height)
}

/** The strip of a zoetrope: frames side by side, a slit above each, the shown one lit. */
function drawStrip(canvas: HTMLCanvasElement, images: readonly ImageBitmap[], shown: number, frames: number): void {
  const context = canvas.getContext('2d')
  const { clientWidth, clientHeight } = canvas
  if (context === null || clientWidth === 0) return
  const density = devicePixelRatio
  canvas.width = clientWidth * density
  canvas.height = clientHeight * density
  context.scale(density, density)
  const cell = clientWidth / frames
  const side = Math.min(cell - 2, clientHeight - 12)
  for (let index = 0; index < frames; index++) {
    const left = index * cell + (cell - side) / 2
    context.fillStyle = index === shown ? '#ff7a4d' : '#3a3a44'
    context.fillRect(index * cell + cell / 2 - 1, 4, 2, 5)
    const image = images[index]
    context.globalAlpha = index === shown ? 1 : 0.72
    if (image === undefined) {
      context.fillStyle = '#24242b'
      context.fillRect(left, 12, side, side)
    } else {
      const fit = side / Math.max(image.width, image.height)
      const [width, height] = [image.width * fit, image.height * fit]
      context.drawImage(image, left + (side - width) / 2, 12 + (side - height) / 2, width, height)
    }
    context.globalAlpha = 1
  }
}
