/**
 * The stage: a clip played on a canvas, its frames as a strip below that can be scrubbed by pointer and keyboard.
 *
 * Plays rough previews while the clip is made and the clip itself after; knows not where frames come from.
 */

import { type Clip, rgbaOf } from '../frames.ts'
import { byId } from './elements.ts'

export interface Stage {
  /** Shows a clip from its first frame; `label` is what screen readers hear. */
  readonly show: (clip: Clip, label: string) => void
  /** Replaces the pixels without restarting; for previews of one clip. */
  readonly refresh: (clip: Clip) => void
  readonly clear: () => void
}

const icons = { pause: 'M7 5h4v14H7zM13 5h4v14h-4z', play: 'M8 5v14l11-7z' } as const

export function createStage(): Stage {
  const screen = byId('canvas', HTMLCanvasElement)
  const strip = byId('strip', HTMLCanvasElement)
  const play = byId('play', HTMLButtonElement)
  const empty = byId('empty', HTMLElement)
  let clip: Clip | undefined
  let images: ImageBitmap[] = []
  let [frame, playing, began] = [0, false, 0]

  const paint = () => {
    if (clip === undefined) return
    drawFrame(screen, images[frame])
    drawStrip(strip, images, frame, clip.frames)
    strip.setAttribute('aria-valuenow', String(frame + 1))
  }
  const tick = (now: number) => {
    if (!playing || clip === undefined) return
    const next = Math.floor(((now - began) / 1000) * clip.fps) % clip.frames
    if (next !== frame) {
      frame = next
      paint()
    }
    requestAnimationFrame(tick)
  }
  const setPlaying = (wanted: boolean) => {
    playing = wanted && clip !== undefined
    play.setAttribute('aria-label', playing ? 'Pause' : 'Play')
    byId('play-icon', SVGPathElement as never).setAttribute('d', playing ? icons.pause : icons.play)
    if (playing && clip !== undefined) {
      began = performance.now() - (frame / clip.fps) * 1000
      requestAnimationFrame(tick)
    }
  }
  const seek = (wanted: number) => {
    if (clip === undefined) return
    setPlaying(false)
    frame = Math.max(0, Math.min(clip.frames - 1, wanted))
    paint()
  }
  const load = async (next: Clip) => {
    clip = next
    const made = await bitmapsOf(next)
    // A newer clip may have come while these were made.
    if (clip !== next) return
    for (const image of images) image.close()
    images = made
    frame = Math.min(frame, next.frames - 1)
    strip.setAttribute('aria-valuemax', String(next.frames))
    empty.hidden = true
    play.hidden = false
    paint()
  }

  play.addEventListener('click', () => setPlaying(!playing))
  strip.addEventListener('keydown', (event) => {
    const last = (clip?.frames ?? 1) - 1
    const wanted = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: last }[event.key]
    if (event.key === ' ') setPlaying(!playing)
    else if (wanted === undefined) return
    else seek(wanted)
    event.preventDefault()
  })
  strip.addEventListener('pointerdown', (event) => strip.setPointerCapture(event.pointerId))
  for (const kind of ['pointerdown', 'pointermove'] as const)
    strip.addEventListener(kind, (event) => {
      if (clip === undefined || !strip.hasPointerCapture(event.pointerId)) return
      const { left, width } = strip.getBoundingClientRect()
      seek(Math.floor(((event.clientX - left) / width) * clip.frames))
    })
  new ResizeObserver(() => (clip === undefined ? drawStrip(strip, [], -1, 17) : paint())).observe(strip)

  return {
    show: (next, label) => {
      screen.setAttribute('aria-label', label)
      frame = 0
      void load(next).then(() => setPlaying(!matchMedia('(prefers-reduced-motion: reduce)').matches))
    },
    refresh: (next) => {
      const wasEmpty = clip === undefined
      void load(next).then(() => wasEmpty && setPlaying(!matchMedia('(prefers-reduced-motion: reduce)').matches))
    },
    clear: () => {
      setPlaying(false)
      clip = undefined
      screen.getContext('2d')?.clearRect(0, 0, screen.width, screen.height)
      screen.setAttribute('aria-label', 'No video yet')
      drawStrip(strip, [], -1, 17)
      empty.hidden = false
      play.hidden = true
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
