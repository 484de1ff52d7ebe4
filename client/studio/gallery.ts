/**
 * What was made here, kept in this browser: file, frames, request and receipt of each clip, newest first.
 */

import type { Receipt } from '../../shared/receipt.ts'
import type { VideoRequest } from '../events.ts'
import { type Clip, rgbaOf } from '../frames.ts'
import { byId, create } from './elements.ts'
import { still } from './stage.ts'
import type { Storage } from './storage.ts'

export interface Kept {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly madeAt: number
  readonly request: VideoRequest
  readonly receipt: Receipt
  /** The router's reason for where it was made; clips of earlier versions have none. */
  readonly reason?: string
  /** Of an extended clip: the seed that what it extends was made with, and how many frames that had. */
  readonly begunWith?: { readonly seed: number; readonly frames: number }
  readonly clip: Clip
  readonly file: Blob
}

export interface Gallery {
  /** Shows a clip and keeps it. @throws GenerationError storage_full where it is shown until the page closes only. */
  readonly add: (kept: Kept) => Promise<void>
  readonly find: (id: string) => Kept | undefined
}

/** Most clips kept; the oldest go first. */
const most = 200

/** Fills the page's gallery; `open` is called with the clip that was chosen. */
export async function createGallery(storage: Storage, open: (kept: Kept) => void): Promise<Gallery> {
  const list = byId('gallery', HTMLUListElement)
  const all = await storage.all<Kept>('clips')
  const none = byId('none', HTMLElement)
  if (!storage.durable) none.textContent = 'This browser keeps nothing here: download what you want to have.'
  const refresh = () => {
    none.hidden = storage.durable && list.childElementCount > 0
  }
  const remove = async (id: string, item: HTMLLIElement) => {
    await storage.remove('clips', id)
    const at = all.findIndex((each) => each.id === id)
    if (at >= 0) all.splice(at, 1)
    const next = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector('button')
    item.remove()
    refresh()
    // The focus must not fall out of the list.
    ;(next ?? byId('prompt', HTMLTextAreaElement)).focus()
  }
  const show = (kept: Kept) => {
    const item = cardOf(
      kept,
      () => open(kept),
      () => void remove(kept.id, item),
    )
    list.prepend(item)
  }
  for (const kept of all.sort((a, b) => a.madeAt - b.madeAt)) show(kept)
  refresh()
  return {
    add: async (kept) => {
      show(kept)
      refresh()
      for (const old of all.splice(0, Math.max(0, all.length + 1 - most))) await storage.remove('clips', old.id)
      all.push(kept)
      await storage.put('clips', kept)
    },
    find: (id) => all.find((each) => each.id === id),
  }
}

function cardOf({ clip, request }: Kept, open: () => void, remove: () => void): HTMLLIElement {
  const picture = create('canvas', { width: clip.width, height: clip.height })
  const draw = (frame: number) => picture.getContext('2d')?.putImageData(rgbaOf(clip, frame), 0, 0)
  draw(Math.floor(clip.frames / 2))
  const button = create(
    'button',
    { type: 'button', className: 'open' },
    picture,
    create('span', { dir: 'auto' }, request.prompt ?? ''),
  )
  button.setAttribute('aria-label', `Show: ${request.prompt}`)
  button.addEventListener('click', open)
  playWhileLookedAt(button, clip, draw)
  const away = create('button', { type: 'button', className: 'remove', textContent: '×' })
  away.setAttribute('aria-label', `Delete: ${request.prompt}`)
  away.addEventListener('click', remove)
  return create('li', { className: 'card' }, button, away)
}

function playWhileLookedAt(button: HTMLButtonElement, { frames, fps }: Clip, draw: (frame: number) => void): void {
  let timer: ReturnType<typeof setInterval> | undefined
  const stop = () => clearInterval(timer)
  const start = () => {
    if (still()) return
    stop()
    let frame = 0
    timer = setInterval(() => draw(frame++ % frames), 1000 / fps)
  }
  for (const kind of ['pointerenter', 'focus'] as const) button.addEventListener(kind, start)
  for (const kind of ['pointerleave', 'blur'] as const) button.addEventListener(kind, stop)
}
