import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { afterAll, describe, expect, it, vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import type { FakeProvider } from '../test/fake-provider.ts'
import { bindings, fakeUpstream, mintFor, newTenant } from './front-door.ts'
import { accountOf } from './objects/contract.ts'

afterAll(() => {
  vi.unstubAllGlobals()
})

/** How many runs were really begun for some jobs. */
const begun = ({ executions }: FakeProvider, ...jobs: readonly Job[]): number =>
  [...executions].filter(([attempt]) => jobs.some(({ id }) => attempt.includes(id))).length

const crowd = <Value>(count: number, make: (index: number) => Promise<Value>): Promise<Value[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => make(index)))

describe('a crowd', { timeout: 240_000 }, () => {
  it('of 1,000 equal requests is one execution, one debit, one job', async () => {
    const { replicate } = fakeUpstream()
    const caller = await newTenant('10')
    const jobs = await crowd(1000, () => caller.create({ model: 'wan-2.2-t2v-fast', seed: 1 }))
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1)
    const waits = await caller.run({ model: 'wan-2.2-t2v-fast', seed: 1 })
    expect([waits.status, waits.error]).toEqual(['completed', null])
    expect([replicate.creates(), [...replicate.executions.values()]]).toEqual([1, [1]])
    expect(await accountOf(bindings, caller.tenant).balance()).toEqual({
      balance: 9_800_000,
      held: 0,
      credits: 10_000_000,
      debits: 200_000,
    })
  })

  it('of 1,000 different requests with credit for 10 is exactly 10 executions', async () => {
    const { replicate } = fakeUpstream()
    replicate.life = 'stuck'
    const caller = await newTenant('2')
    const answers = await crowd(1000, async (seed) => {
      const body = { model: 'wan-2.2-t2v-fast', prompt: 'a fox', seed }
      return (await caller.call('POST', '/v1/videos', body)).status
    })
    expect(answers.filter((status) => status === 202)).toHaveLength(10)
    expect(answers.filter((status) => status === 402)).toHaveLength(990)
    const { balance, held } = await accountOf(bindings, caller.tenant).balance()
    expect([balance, held]).toEqual([2_000_000, 2_000_000])
  })

  it('with one Idempotency-Key is one job, whatever seed the server would have drawn', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const jobs = await crowd(100, () => caller.create({}, { 'idempotency-key': 'once' }))
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1)
    const other = await caller.call('POST', '/v1/videos', { prompt: 'another' }, { 'idempotency-key': 'once' })
    expect([other.status, ((await other.json()) as { code: string }).code]).toEqual([422, 'idempotency_key_reuse'])
    await caller.run({}, { 'idempotency-key': 'once' })
    expect(node.executions.size).toBe(1)
  })

  it('of different subjects has a job each, shares one execution, and stops only with the last', async () => {
    const { node } = fakeUpstream()
    node.life = 'stuck'
    const caller = await newTenant()
    const subjects = await crowd(20, (index) => mintFor(caller, `user-${index}`))
    const jobs = await crowd(20, (index) => (subjects[index] as typeof caller).create({ seed: 5 }))
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(20)
    await vi.waitFor(() => expect(node.predictions.size).toBe(1), { timeout: 120_000 })
    const leave = async (index: number) =>
      (await (await subjects[index]?.call('POST', `/v1/videos/${jobs[index]?.id}/cancel`))?.json()) as Job
    for (let index = 0; index < 19; index++) expect((await leave(index)).status).toBe('cancelled')
    const last = (await (await subjects[19]?.call('GET', `/v1/videos/${jobs[19]?.id}`))?.json()) as Job
    expect(['queued', 'in_progress']).toContain(last.status)
    await leave(19)
    await vi.waitFor(() => expect([...node.predictions.values()].map(({ status }) => status)).toEqual(['canceled']), {
      timeout: 120_000,
    })
    expect(node.executions.size).toBe(1)
    expect((await accountOf(bindings, caller.tenant).balance()).held).toBe(0)
  })

  it('holds a token to its caps: 3 jobs of 30', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const subject = await mintFor(caller, 'capped', { max_jobs: 3 })
    const answers = await crowd(30, async (seed) => {
      return (await subject.call('POST', '/v1/videos', { prompt: 'a fish', seed })).status
    })
    expect(answers.filter((status) => status === 202)).toHaveLength(3)
    expect(answers.filter((status) => status === 402)).toHaveLength(27)
  })
})

describe('a result that is stored', () => {
  it('answers the next equal request at once, free and with the same bytes', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const first = await caller.run({ seed: 9 })
    const second = await caller.create({ seed: 9 })
    expect([second.status, second.cache.status, second.usage.cost_usd]).toEqual(['completed', 'hit', '0.000000'])
    expect(second.id).not.toBe(first.id)
    expect(second.outputs[0]?.sha256).toBe(first.outputs[0]?.sha256)
    expect(begun(node, first, second)).toBe(1)
  })

  it('is written before it is told', async () => {
    fakeUpstream()
    const caller = await newTenant()
    await caller.run({ seed: 10 })
    const account = accountOf(bindings, caller.tenant) as unknown as DurableObjectStub
    const job = await caller.create({ seed: 10 })
    const rows = await runInDurableObject(account, (_, { storage }) =>
      storage.sql.exec('SELECT 1 FROM records WHERE job = ?', job.id).toArray(),
    )
    expect(rows).toHaveLength(1)
    await abortAllDurableObjects()
    expect(await (await caller.call('GET', `/v1/videos/${job.id}`)).json()).toMatchObject({ id: job.id })
    const page = (await (await caller.call('GET', '/v1/videos')).json()) as { readonly data: readonly Job[] }
    expect(page.data[0]?.id).toBe(job.id)
  })

  it('counts for a token and for a key, however many ask at once', async () => {
    fakeUpstream()
    const caller = await newTenant()
    await caller.run({ seed: 11 })
    const keyed = await crowd(30, () => caller.create({ seed: 11 }, { 'idempotency-key': 'hit' }))
    expect(new Set(keyed.map(({ id }) => id)).size).toBe(1)
    const subject = await mintFor(caller, 'capped', { max_jobs: 3 })
    const answers = await crowd(30, async () => {
      return (await subject.call('POST', '/v1/videos', { prompt: 'a blue bird flies left', seed: 11 })).status
    })
    expect([
      answers.filter((status) => status === 200).length,
      answers.filter((status) => status === 402).length,
    ]).toEqual([3, 27])
  })

  it('is nobody else’s: another tenant runs its own', async () => {
    const { node } = fakeUpstream()
    const [one, other] = [await newTenant(), await newTenant()]
    const first = await one.run({ seed: 9 })
    const job = await other.run({ seed: 9 })
    expect([job.cache.status, begun(node, first, job)]).toEqual(['miss', 2])
  })

  it('is gone with the job that is erased', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const job = await caller.run({ seed: 3 })
    expect((await caller.call('DELETE', `/v1/videos/${job.id}`)).status).toBe(204)
    expect((await caller.call('GET', `/v1/videos/${job.id}`)).status).toBe(404)
    expect(await bindings.BUCKET.head(`t/${caller.tenant}/${job.outputs[0]?.sha256}`)).toBeNull()
    const again = await caller.run({ seed: 3 })
    expect([again.cache.status, begun(node, job, again)]).toEqual(['miss', 2])
  })
})
