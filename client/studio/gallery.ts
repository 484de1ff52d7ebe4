/**
 * What was made here, kept in this browser: file, frames, request and receipt of each clip, newest first.
 *
 * Shows what other tabs make, and no more what they delete, as they do.
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
  const all: Kept[] = []
  const items = new Map<string, HTMLLIElement>()
  const none = byId('none', HTMLElement)
  if (!storage.durable) none.textContent = 'This browser keeps nothing here: download what you want to have.'
  const refresh = () => {
    none.hidden = storage.durable && list.childElementCount > 0
  }
  const hide = (id: string) => {
    const [at, item] = [all.findIndex((each) => each.id === id), items.get(id)]
    if (at >= 0) all.splice(at, 1)
    if (item === undefined) return
    const next = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector('button')
    const focused = item.contains(document.activeElement)
    item.remove()
    items.delete(id)
    refresh()
    // The focus must not fall out of the list.
    if (focused) (next ?? byId('prompt', HTMLTextAreaElement)).focus()
  }
  const remove = async (id: string) => {
    await storage.remove('clips', id)
    hide(id)
  }
  const show = (kept: Kept) => {
    const item = cardOf(
      kept,
      () => open(kept),
      () => void remove(kept.id),
    )
    all.push(kept)
    items.set(kept.id, item)
    list.prepend(item)
    refresh()
  }
  storage.onOthers('clips', (id, record) => {
    if (record === undefined) hide(id)
    else if (!items.has(id)) show(record as Kept)
  })
  // Another tab's may have come while these were read.
  for (const kept of (await storage.all<Kept>('clips')).sort((a, b) => a.madeAt - b.madeAt))
    if (!items.has(kept.id)) show(kept)
  refresh()
  return {
    add: async (kept) => {
      show(kept)
      for (const old of all.slice(0, Math.max(0, all.length - most))) await remove(old.id)
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
