import {
  abortAllDurableObjects,
  createScheduledController,
  evictDurableObject,
  runDurableObjectAlarm,
  runInDurableObject,
} from 'cloudflare:test'
import { describe, expect, it, vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import { bindings } from './front-door.ts'
import worker from './index.ts'
import { inside, patience } from './inside.ts'
import { accountOf, generationOf } from './objects/contract.ts'

const at = inside()
const { account, read } = at
/** Jobs of a test come one after another, and a job that is over left its seat to the next. */
const seat = 1
const generation = () => at.seat(seat)

const alarmOf = (): Promise<number | null> => runInDurableObject(generation(), (_, state) => state.storage.getAlarm())

/** Tables that the object in the seat holds. */
const storedIn = (): Promise<string[]> =>
  runInDurableObject(generation(), (_, { storage }) =>
    storage.sql
      .exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'")
      .toArray()
      .map(({ name }) => String(name)),
  )

/** A job without what is signed anew each time. */
const withoutRights = (job: Job) => ({
  ...job,
  outputs: job.outputs.map(({ url: _, url_expires_at: __, ...output }) => output),
})

const ended = (job: Job, status = 'completed') =>
  vi.waitFor(async () => expect((await read(job)).status).toBe(status), patience)

/** A job in the cloud that was accepted there and is not looked at for ten seconds. */
async function restingJob(): Promise<Job> {
  at.upstream.replicate.pollsNeeded = 0
  const job = await at.caller.create({ model: 'wan-2.2-t2v-fast', seed: 1 })
  await vi.waitFor(async () => {
    const alarm = (await alarmOf()) ?? 0
    expect([at.upstream.replicate.creates(), alarm > Date.now() + 5_000]).toEqual([1, true])
    const phase = await runInDurableObject(generation(), (_, { storage }) =>
      String(storage.sql.exec("SELECT value FROM meta WHERE name = 'state'").one().value),
    )
    expect(phase).toContain('"phase":"running"')
  }, patience)
  return job
}

const minute = async () => worker.scheduled(createScheduledController(), bindings)

const silenced = () =>
  runInDurableObject(account(), (_, { storage }) => {
    storage.sql.exec('UPDATE jobs SET checked_at = 0')
  })

describe('a job that is woken', () => {
  it('looks once and rests again while it runs, however often it was told', async () => {
    at.upstream.replicate.life = 'stuck'
    await restingJob()
    const polls = () => [...at.upstream.replicate.predictions.values()][0]?.polls ?? 0
    const before = polls()
    for (let time = 0; time < 3; time++) await generationOf(bindings, at.caller.tenant, seat).wake()
    await vi.waitFor(async () => {
      expect(polls()).toBeGreaterThan(before)
      expect((await alarmOf()) ?? 0).toBeGreaterThan(Date.now() + 5_000)
    }, patience)
    expect(polls()).toBeLessThanOrEqual(before + 3)
  })

  it('leaves its object empty at its end, and the account holds all that callers may ask for', async () => {
    const job = await at.caller.run({ seed: 9 })
    const events = async () => (await at.caller.call('GET', `/v1/videos/${job.id}/events`)).text()
    await vi.waitFor(async () => expect(await storedIn()).toEqual([]), patience)
    await generationOf(bindings, at.caller.tenant, seat).wake()
    expect([await storedIn(), await alarmOf()]).toEqual([[], null])
    expect(withoutRights(await read(job))).toEqual(withoutRights(job))
    const told = [...(await events()).matchAll(/^event: (\w+)$/gm)].map(([, type]) => type)
    expect([told[0], ...told.slice(-2)]).toEqual(['status', 'output', 'status'])
    const bytes = await at.caller.call('GET', job.outputs[0]?.url.slice('https://edge.test'.length) ?? '')
    expect(bytes.status).toBe(200)
    await runDurableObjectAlarm(account())
    const due = await runInDurableObject(account(), (_, { storage }) => storage.getAlarm())
    expect(due).toBe(Date.parse(job.outputs_expire_at ?? ''))
  })
})

describe('a job whose alarm is lost', () => {
  it('is found by the minute sweep and goes on to its end', async () => {
    const job = await restingJob()
    await runInDurableObject(generation(), (_, { storage }) => storage.deleteAlarm())
    expect(await alarmOf()).toBeNull()
    await silenced()
    await minute()
    await ended(job)
    expect([...at.upstream.replicate.executions.values()]).toEqual([1])
  })

  it('is left alone by the sweep while it was heard of lately', async () => {
    await restingJob()
    await runInDurableObject(generation(), (_, { storage }) => storage.deleteAlarm())
    await minute()
    expect(await alarmOf()).toBeNull()
  })
})

/** Storage of the seat that fails at every statement until it is mended. */
async function breakStore(): Promise<() => void> {
  return runInDurableObject(generation(), (_, { storage }) => {
    const spy = vi.spyOn(storage.sql, 'exec').mockImplementation(() => {
      throw new Error('disk I/O error')
    })
    return () => spy.mockRestore()
  })
}

/** Makes the next step due, without letting it be taken. */
const makeDue = () =>
  runInDurableObject(generation(), async (instance, { storage }) => {
    await (instance as unknown as { wake(): Promise<void> }).wake()
    await storage.setAlarm(Date.now() + 60_000)
  })

describe('an alarm that meets a store which throws', () => {
  it('does not throw itself, is armed again, and takes the step when the store is back', async () => {
    const job = await restingJob()
    await makeDue()
    const mend = await breakStore()
    const complaint = vi.spyOn(console, 'error').mockReturnValue()
    const ran = await runDurableObjectAlarm(generation())
    const again = await alarmOf()
    mend()
    expect([ran, complaint.mock.calls.length > 0]).toEqual([true, true])
    expect(again).not.toBeNull()
    expect(again).toBeLessThan(Date.now() + 15_000)
    complaint.mockRestore()
    await makeDue()
    await runDurableObjectAlarm(generation())
    await ended(job)
    expect([...at.upstream.replicate.executions.values()]).toEqual([1])
  })
})

describe('an object that leaves memory', () => {
  it('goes on from its storage: same job, same numbers of events, one run', async () => {
    const job = await restingJob()
    const before = await read(job)
    await evictDurableObject(generation())
    expect(await read(job)).toEqual(before)
    await makeDue()
    await runDurableObjectAlarm(generation())
    await ended(job)
    const text = await (await at.caller.call('GET', `/v1/videos/${job.id}/events`)).text()
    const numbers = [...text.matchAll(/^id: (\d+)$/gm)].map(([, number]) => Number(number))
    expect(numbers).toEqual(numbers.map((_, index) => index + 1))
    expect([...at.upstream.replicate.executions.values()]).toEqual([1])
  })

  it('is the account: what it holds and what it shares stays so', async () => {
    const job = await restingJob()
    const before = await accountOf(bindings, at.caller.tenant).balance()
    expect(before.held).toBe(200_000)
    await evictDurableObject(account())
    expect(await accountOf(bindings, at.caller.tenant).balance()).toEqual(before)
    expect((await at.caller.create({ model: 'wan-2.2-t2v-fast', seed: 1 })).id).toBe(job.id)
    await makeDue()
    await runDurableObjectAlarm(generation())
    await ended(job)
    const { held, debits } = await accountOf(bindings, at.caller.tenant).balance()
    expect([held, debits]).toEqual([0, 200_000])
  })

  it('in the middle of a step takes the step again, and nothing runs twice', async () => {
    at.upstream.node.faults.push('hangs_after')
    const job = await at.caller.create({ seed: 1 })
    await vi.waitFor(() => expect(at.upstream.node.executions.size).toBe(1), patience)
    await abortAllDurableObjects()
    expect((await read(job)).status).toBe('queued')
    await runDurableObjectAlarm(generation())
    await ended(job)
    expect([at.upstream.node.creates(), [...at.upstream.node.executions.values()]]).toEqual([2, [1]])
  })
})
