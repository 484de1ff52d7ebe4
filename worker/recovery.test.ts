import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { describe, expect, it, vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import { bindings, type Caller, fakeUpstream, newTenant } from './front-door.ts'
import { newId } from './ids.ts'
import { accountOf, generationOf, type JobRecord } from './objects/contract.ts'
import { servicesOf } from './services.ts'

const named = (kind: string, name: string) => `${kind}:${name.length}:${name}`
const objectOf = (namespace: DurableObjectNamespace, name: string) => namespace.get(namespace.idFromName(name))
const generationStub = (id: string) => objectOf(bindings.GENERATIONS, named('job', id))

const read = async (caller: Caller, id: string) => (await caller.call('GET', `/v1/videos/${id}`)).json() as Promise<Job>

const over = (caller: Caller, id: string, status: string) =>
  vi.waitFor(async () => expect((await read(caller, id)).status).toBe(status), { timeout: 120_000, interval: 200 })

describe('a job survives', () => {
  it('the loss of its alarm: the sweep finds it', async () => {
    const { node } = fakeUpstream()
    node.pollsNeeded = 1_000
    const caller = await newTenant()
    const job = await caller.create({ seed: 1 })
    await over(caller, job.id, 'in_progress')
    await runInDurableObject(generationStub(job.id), (_, state) => state.storage.deleteAlarm())
    node.pollsNeeded = 0
    expect(await accountOf(bindings, caller.tenant).sweep(Date.now() + 61_000)).toBe(1)
    await over(caller, job.id, 'completed')
    expect(node.executions.size).toBe(1)
  })

  it('the eviction of its object in mid-run, and keeps its numbers', async () => {
    const { node } = fakeUpstream()
    node.pollsNeeded = 1_000
    const caller = await newTenant()
    const job = await caller.create({ seed: 2 })
    await over(caller, job.id, 'in_progress')
    await evictDurableObject(generationStub(job.id))
    node.pollsNeeded = 0
    await over(caller, job.id, 'completed')
    const log = await (await caller.call('GET', `/v1/videos/${job.id}/events`)).text()
    const numbers = [...log.matchAll(/^id: (\d+)$/gm)].map(([, seq]) => Number(seq))
    expect(numbers).toEqual([...new Set(numbers)].sort((one, other) => one - other))
    expect(node.executions.size).toBe(1)
  })

  it('the death of the Worker between acceptance and opening: the account opens it', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const pattern = (await generationOf(bindings, (await caller.run({ seed: 3 })).id).record({
      tenant: caller.tenant,
      subject: null,
    })) as JobRecord
    const record = { ...pattern, id: newId('vid'), contentKey: 'zt1_other', createdAt: Date.now() - 20_000 }
    const account = accountOf(bindings, caller.tenant)
    const { limits } = servicesOf(bindings).settings
    const command = { now: Date.now(), record, caller: 'key:x', idempotency: null, token: null, limits }
    expect((await account.submit(command)).kind).toBe('created')
    expect((await caller.call('GET', `/v1/videos/${record.id}`)).status).toBe(404)
    await runDurableObjectAlarm(objectOf(bindings.ACCOUNTS, named('tenant', caller.tenant)))
    await over(caller, record.id, 'completed')
    expect([...node.executions.keys()].filter((attempt) => attempt.includes(record.id))).toHaveLength(1)
  })

  it('an error in its alarm, which is armed again before anything can fail', async () => {
    const { node } = fakeUpstream()
    node.pollsNeeded = 1_000
    const caller = await newTenant()
    const job = await caller.create({ seed: 4 })
    await over(caller, job.id, 'in_progress')
    const stub = generationStub(job.id)
    await runInDurableObject(stub, async (instance, state) => {
      const storage = state.storage.sql
      storage.exec('ALTER TABLE log RENAME TO hidden')
      await (instance as unknown as { alarm(): Promise<void> }).alarm()
      storage.exec('ALTER TABLE hidden RENAME TO log')
      expect(await state.storage.getAlarm()).not.toBeNull()
    })
    node.pollsNeeded = 0
    await (stub as unknown as { wake(): Promise<void> }).wake()
    await over(caller, job.id, 'completed')
  })
})
