/**
 * SIGKILL at directed points of a job's life: the machine dies there, comes back over the same stores, and no job may
 * be lost, run twice or charged twice.
 *
 * One edge lives through all of them, one after another, while earlier jobs are still on their way. The judges are
 * outside: the fake providers' ledgers, the receiver of webhooks and the account's balance.
 */

import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isTerminal, type Job } from '../shared/job.ts'
import { bundleWorker } from './edge-process.ts'
import { fakeVideo, type Life } from './fake-provider.ts'
import { type Cue, type MortalEdge, mortalEdge } from './mortal-edge.ts'

interface Point {
  readonly name: string
  readonly cue: Cue | 'acknowledged' | 'hook heard' | 'completion told'
  readonly cloud?: true
  readonly life?: Life
  /** The caller cancels as soon as the job runs. */
  readonly cancels?: true
  /** Hooks speed up a cloud that is otherwise polled every ten seconds. */
  readonly hooks?: true
  readonly cancelAfter?: string
  /** A second death at the same cue, after the first. */
  readonly twice?: true
  readonly ends?: string
}

const shaOf = (job: number): string => createHash('sha256').update(fakeVideo(job)).digest('hex')

/** Those that take longest to mend come first; the rest happens meanwhile. */
const points: readonly Point[] = [
  { name: 'the POST arrived, nothing ran', cloud: true, cue: { request: 'create', stage: 'arrives' } },
  { name: 'the POST began a run, its answer is lost', cloud: true, cue: { request: 'create', stage: 'handled' } },
  {
    // Asked a second time, the edge has written down that it saw the run: its end is a failure, whenever it is found.
    name: 'a run that never ends was looked at again',
    life: 'stuck',
    cancelAfter: '30s',
    cue: { request: 'status', stage: 'answered', nth: 2 },
    ends: 'failed deadline_exceeded',
  },
  { name: 'the request is judged, nothing is written', cue: { request: 'moderation', stage: 'handled' } },
  { name: 'the account has the row', cue: { store: 'Account', holds: (job) => `key-${job}` } },
  { name: 'the job is opened', cue: { store: 'Generation', holds: (job) => `hooks.app.dev/${job}"` } },
  { name: 'the job is acknowledged', cue: 'acknowledged' },
  { name: 'the PUT arrived, nothing ran', cue: { request: 'create', stage: 'arrives' } },
  { name: 'the PUT began a run, its answer is lost', cue: { request: 'create', stage: 'handled' } },
  { name: 'the same, and once more after the restart', twice: true, cue: { request: 'create', stage: 'handled' } },
  { name: 'the PUT was answered', cue: { request: 'create', stage: 'answered' } },
  { name: 'the run was seen running', cue: { request: 'status', stage: 'answered' } },
  { name: 'the run was seen finished', cue: { request: 'status', stage: 'answered', nth: 2 } },
  { name: 'the output is asked for', cue: { request: 'output', stage: 'arrives' } },
  { name: 'the output came', cue: { request: 'output', stage: 'answered' } },
  {
    name: 'the bytes are stored, the job not settled',
    cue: { store: 'r2', holds: (job, of) => `t/${of}/${shaOf(job)}` },
  },
  {
    name: 'the account settled, the job not told',
    cue: { store: 'Account', holds: (job, of) => `t/${of}/${shaOf(job)}` },
  },
  { name: 'the webhook arrived, its answer is lost', cue: { request: 'webhook', stage: 'handled' } },
  { name: 'a listener was told of the end', cue: 'completion told' },
  {
    name: 'the stop was asked for',
    life: 'stuck',
    cancels: true,
    cue: { request: 'cancel', stage: 'handled' },
    ends: 'cancelled',
  },
  { name: 'a hook was heard', cloud: true, hooks: true, cue: 'hook heard' },
  { name: 'the output came from the cloud', cloud: true, hooks: true, cue: { request: 'output', stage: 'answered' } },
]

const cloudModel = 'wan-2.2-t2v-fast'
const cloudPrice = 0.2

let folder: string
let mortal: MortalEdge
const jobs: Job[] = []

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

async function until<Value>(look: () => Promise<Value | undefined>): Promise<Value> {
  for (;;) {
    const value = await look().catch(() => undefined)
    if (value !== undefined) return value
    await pause(20)
  }
}

const read = async (id: string): Promise<Job> => (await mortal.call('GET', `/v1/videos/${id}`)).json() as Promise<Job>

/** Resolves when the edge is dead. */
async function death(point: Point, number: number, accepted: Promise<Job>): Promise<void> {
  const { cue } = point
  if (typeof cue === 'object') return mortal.dieAt(cue, number)
  const { id } = await accepted
  if (cue === 'hook heard') await until(async () => (await mortal.sendHooks(number)) || undefined)
  if (cue === 'completion told') await hearEnd(id)
  mortal.edge.kill()
}

async function hearEnd(id: string): Promise<void> {
  const { body } = await mortal.call('GET', `/v1/videos/${id}/events`)
  let text = ''
  for await (const piece of body as ReadableStream<Uint8Array>) {
    text += new TextDecoder().decode(piece)
    if (text.includes('"status":"completed"')) return
  }
}

async function live(point: Point, number: number): Promise<void> {
  mortal.node.life = point.life ?? 'succeeds'
  const fields = point.cloud ? { model: cloudModel } : {}
  const headers = { 'cancel-after': point.cancelAfter ?? '4m' }
  let dead = false
  const accepted = mortal.create(number, fields, headers)
  const killed = death(point, number, accepted)
  if (point.cancels) void cancelOnceRunning(await accepted)
  if (point.hooks) void hurry(number, () => dead)
  await killed
  if (point.twice) {
    const again = mortal.dieAt(point.cue as Cue, number)
    await mortal.edge.start()
    await again
  }
  await mortal.edge.start()
  dead = true
  jobs[number] = await accepted
}

async function cancelOnceRunning({ id }: Job): Promise<void> {
  await until(async () => ((await read(id)).status === 'in_progress' ? true : undefined))
  await mortal.call('POST', `/v1/videos/${id}/cancel`).catch(() => undefined)
}

async function hurry(number: number, stopped: () => boolean): Promise<void> {
  while (!stopped()) {
    await mortal.sendHooks(number)
    await pause(100)
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-kill-'))
  const script = await bundleWorker(join(folder, 'bundle'))
  mortal = await mortalEdge({ script, folder: join(folder, 'stores'), port: 22_600 }, {})
}, 300_000)

afterAll(async () => {
  mortal?.close()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
})

describe('a machine that is killed', { timeout: 600_000 }, () => {
  for (const [number, point] of points.entries()) {
    it(`comes back where ${point.name}${point.cloud ? ', in the cloud' : ''}`, () => live(point, number))
  }

  it('has lost no job: each ended in time, as it should have', async () => {
    for (const [number, { ends = 'completed' }] of points.entries()) {
      const { id } = jobs[number] ?? { id: '' }
      expect(id, `job ${number} was accepted`).not.toBe('')
      const job = await until(async () => {
        const now = await read(id)
        return isTerminal(now.status) || Date.parse(now.deadline_at) + 60_000 < Date.now() ? now : undefined
      })
      const name = `${number} ${ends}`
      expect(`${number} ${[job.status, job.error?.code].filter(Boolean).join(' ')}`).toBe(name)
      expect(Date.parse(job.completed_at as string)).toBeLessThanOrEqual(Date.parse(job.deadline_at) + 60_000)
      if (ends === 'completed') expect(job.outputs.map(({ sha256 }) => sha256)).toEqual([shaOf(number)])
    }
  })

  it('has run none twice', () => {
    expect(points.map((_, number) => mortal.executions(number))).toEqual(points.map(() => 1))
  })

  it('has charged none twice, and holds nothing back', async () => {
    const { balance_usd, held_usd } = await mortal.operate('/operator/credits', {
      tenant: mortal.tenant,
      id: 'first',
      usd: '100',
    })
    const paid = points.filter(({ cloud }) => cloud).length * cloudPrice
    expect([Number(balance_usd), Number(held_usd)]).toEqual([100 - paid, 0])
  })

  it('has told of every end, under one name however often', async () => {
    for (const [number, { ends = 'completed' }] of points.entries()) {
      const told = await until(async () => mortal.deliveries.get(number))
      expect(new Set(told.map(({ id }) => id)).size).toBe(1)
      expect(told[0]?.type).toBe(`video.${ends.split(' ')[0]}`)
    }
  })
})
