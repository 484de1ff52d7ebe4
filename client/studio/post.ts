/**
 * The outbox on the page: requests for the cloud, each shown from the moment it is made until its clip is here.
 *
 * Every request for the cloud goes this way, also with a network: a letter is kept, sent once, and becomes a job whose id
 * is kept until its clip has arrived, so that a reload loses neither. What is wanting (a network, a key) is said beside
 * each. How letters are sent exactly once is the outbox's own business (../outbox.ts).
 */

import { GenerationError } from '../../shared/errors.ts'
import type { Client, Job, VideoRequest } from '../index.ts'
import { createOutbox, type Delivery, type Letter } from '../outbox.ts'
import { byId, create } from './elements.ts'
import { letterBox, type SentJob, type Storage } from './storage.ts'

export interface PostOptions {
  readonly storage: Storage
  /** The way to the service; undefined without a key. */
  readonly client: () => Client | undefined
  /** Takes a finished job in: follows it to its end and keeps the clip. `say` is told how it goes. */
  readonly receive: (job: Job, request: VideoRequest, say: (text: string) => void) => Promise<void>
}

export interface Post {
  /** Keeps a request and sends it; undefined where it must wait. @throws GenerationError where it is refused. */
  readonly send: (request: VideoRequest) => Promise<Job | undefined>
  /** A job that was given out by `send` needs no more keeping. */
  readonly settle: (id: string) => Promise<void>
  /** Sends what waits and goes on with what is under way: when a network or a key has come. */
  readonly flush: () => Promise<void>
}

interface Row {
  readonly say: (text: string) => void
  readonly remove: () => void
}

/** Shows what waits and what is under way. */
export async function createPost({ storage, client, receive }: PostOptions): Promise<Post> {
  const rows = rowList()
  /** Jobs of letters that were just sent, by the letters' keys. */
  const taken = new Map<string, Job>()
  /** Who waits for what becomes of a letter. */
  const awaited = new Map<string, PromiseWithResolvers<Job | undefined>>()
  const followed = new Set<string>()
  /** Letters that were cancelled while they were on their way. */
  const withdrawn = new Set<string>()
  const outbox = createOutbox({
    box: letterBox(storage),
    send: async (letter) => {
      const [there, row] = [client(), rowOf(letter)]
      if (there === undefined) throw new GenerationError('unauthenticated', waitsForKey)
      row.say('On its way')
      try {
        const job = await there.videos.create(letter.request, { idempotencyKey: letter.key })
        await storage.put('jobs', { id: job.id, request: letter.request, sentAt: Date.now() } satisfies SentJob)
        taken.set(letter.key, job)
      } catch (error) {
        row.say(`Waits: ${error instanceof Error ? error.message : String(error)}`)
        throw error
      }
    },
  })

  function rowOf(letter: Letter): Row {
    const { key, request } = letter
    return rows.of(key, request, async () => {
      withdrawn.add(key)
      rows.remove(key)
      await outbox.withdraw(key)
    })
  }

  /** Follows a job in the background; one that loses its network waits for the next flush. */
  async function follow(job: Job, request: VideoRequest): Promise<void> {
    if (followed.has(job.id)) return
    followed.add(job.id)
    const row = rows.of(job.id, request, async () => job.cancel())
    row.say('Under way')
    try {
      await receive(job, request, row.say)
      await forget(job.id)
    } catch (error) {
      if (error instanceof GenerationError && error.code === 'offline') return row.say(waitsForNetwork)
      await storage.remove('jobs', job.id)
      if (error instanceof GenerationError && error.code === 'aborted') return rows.remove(job.id)
      fail(job.id, request, error)
    } finally {
      job[Symbol.dispose]()
      followed.delete(job.id)
    }
  }

  /** What is left of a request that came to nothing: its row, until it is read and put away. */
  function fail(key: string, request: VideoRequest, error: unknown): void {
    const row = rows.of(key, request, async () => rows.remove(key), 'Put away')
    row.say(error instanceof Error ? error.message : String(error))
  }

  async function forget(id: string): Promise<void> {
    await storage.remove('jobs', id)
    rows.remove(id)
  }

  /** What became of letters, whichever flush sent them: told to who waits for it, else followed or shown here. */
  function deal(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const { key, request } = delivery.letter
      rows.remove(key)
      const [job, caller] = [taken.get(key), awaited.get(key)]
      taken.delete(key)
      if (withdrawn.delete(key)) {
        job?.[Symbol.dispose]()
        if (job !== undefined) void storage.remove('jobs', job.id)
        caller?.reject(new GenerationError('aborted', 'the letter was withdrawn'))
      } else if (delivery.kind === 'sent') {
        if (caller !== undefined) caller.resolve(job)
        else if (job !== undefined) void follow(job, request)
      } else {
        const error = delivery.kind === 'refused' ? delivery.error : gone[delivery.kind]
        if (caller === undefined) fail(key, request, error)
        else caller.reject(error)
      }
    }
  }

  async function showWaiting(): Promise<void> {
    const lack = navigator.onLine ? waitsForKey : waitsForNetwork
    for (const letter of await outbox.waiting()) rowOf(letter).say(lack)
    for (const { id, request } of await storage.all<SentJob>('jobs'))
      if (!followed.has(id)) rows.of(id, request, () => forget(id)).say(lack)
  }

  async function resume(there: Client): Promise<void> {
    for (const { id, request } of await storage.all<SentJob>('jobs')) {
      if (followed.has(id)) continue
      try {
        void follow(await there.videos.attach(id), request)
      } catch (error) {
        const lasting = error instanceof GenerationError && !error.retryable && error.code === 'not_found'
        if (lasting) await storage.remove('jobs', id)
        fail(id, request, error)
      }
    }
  }

  await showWaiting()
  return {
    send: async (request) => {
      const letter = await outbox.add({ ...request, inferenceMode: 'only_in_cloud' })
      if (client() === undefined || !navigator.onLine) {
        await showWaiting()
        return undefined
      }
      const caller = Promise.withResolvers<Job | undefined>()
      // Told by another flush while ours still waits its turn, a refusal has nobody to hear it yet.
      caller.promise.catch(() => {})
      awaited.set(letter.key, caller)
      try {
        // Another flush may be at work and take this letter with it.
        deal(await outbox.flush())
        caller.resolve(undefined)
        return await caller.promise
      } finally {
        awaited.delete(letter.key)
      }
    },
    settle: forget,
    flush: async () => {
      const there = client()
      if (there === undefined || !navigator.onLine) return showWaiting()
      deal(await outbox.flush())
      await resume(there)
    },
  }
}

const waitsForNetwork = 'Waits for a connection'
const waitsForKey = 'Waits for a key'
const gone = {
  expired: new Error('Waited for a week and was given up; make it again if you still want it'),
  uncertain: new Error(
    'It may have reached the service, and nothing answered for a day; make it again if it is missing',
  ),
} as const

/** The list on the page; hidden while it is empty. */
function rowList() {
  const section = byId('post', HTMLElement)
  const list = byId('letters', HTMLUListElement)
  const rows = new Map<string, ReturnType<typeof fresh>>()
  const remove = (key: string) => {
    const row = rows.get(key)
    if (row === undefined) return
    // The focus must not fall out of the list.
    const next = (row.item.nextElementSibling ?? row.item.previousElementSibling)?.querySelector('button')
    const focused = row.item.contains(document.activeElement)
    row.item.remove()
    rows.delete(key)
    section.hidden = rows.size === 0
    if (focused) (next ?? byId('prompt', HTMLTextAreaElement)).focus()
  }
  return {
    remove,
    of: (key: string, { prompt = '' }: VideoRequest, away: () => Promise<void>, deed = 'Cancel'): Row => {
      const known = rows.get(key)
      const row = known ?? fresh(prompt)
      row.away = () => void away().catch(() => {})
      row.button.textContent = deed
      row.button.setAttribute('aria-label', `${deed}: ${prompt}`)
      if (known === undefined) {
        rows.set(key, row)
        list.append(row.item)
        section.hidden = false
      }
      return {
        say: (text) => {
          if (row.state.textContent !== text) row.state.textContent = text
        },
        remove: () => remove(key),
      }
    },
  }
}

function fresh(prompt: string) {
  const state = create('p', { className: 'state' })
  state.setAttribute('role', 'status')
  const button = create('button', { type: 'button', className: 'quiet small' })
  const words = create('div', {}, create('p', { className: 'said', dir: 'auto' }, prompt), state)
  const row = { item: create('li', { className: 'letter' }, words, button), state, button, away: () => {} }
  button.addEventListener('click', () => row.away())
  return row
}
