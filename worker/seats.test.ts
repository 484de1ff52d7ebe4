import { evictDurableObject, listDurableObjectIds, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import { bindings, knock, mintFor } from './front-door.ts'
import { newId } from './ids.ts'
import { inside, patience } from './inside.ts'
import { Account } from './objects/account.ts'
import { accountOf, generationOf, type Ticket } from './objects/contract.ts'
import { leaveSeat, seatOf, take } from './objects/seats.ts'

const at = inside()
const { account, seat, read } = at

/** The rows of the seat's state, as an interrupted farewell would leave them. */
const stateIn = (number: number) =>
  runInDurableObject(seat(number), (_, { storage }) => {
    const { sql } = storage
    const known = sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'meta'").toArray().length > 0
    return known ? sql.exec<{ name: string; value: string }>('SELECT * FROM meta').toArray() : []
  })

describe('seats', () => {
  it('are the lowest free ones, nobody’s twice, and as many as there were jobs at once', async () => {
    await runInDurableObject(account(), (_, { storage }) => {
      const { sql } = storage
      fc.assert(
        fc.property(fc.array(fc.nat(20), { maxLength: 60 }), (choices) => {
          sql.exec('DELETE FROM seats')
          const sitting = new Map<string, number>()
          let [most, serial] = [0, 0]
          for (const choice of choices) {
            const leaver = [...sitting.keys()][choice]
            if (leaver !== undefined) {
              leaveSeat(sql, leaver)
              sitting.delete(leaver)
              expect(seatOf(sql, leaver)).toBeNull()
            } else {
              const job = `job-${serial++}`
              const free = Array.from({ length: 100 }, (_, index) => index + 1).find(
                (number) => ![...sitting.values()].includes(number),
              )
              expect(take(sql, job)).toBe(free)
              sitting.set(job, free as number)
            }
            most = Math.max(most, sitting.size)
            for (const [job, number] of sitting) expect(seatOf(sql, job)).toBe(number)
          }
          expect(sql.exec('SELECT COUNT(*) AS count FROM seats').one().count).toBe(most)
        }),
        { numRuns: 200 },
      )
      sql.exec('DELETE FROM seats')
    })
  })

  it('are used again: thirty jobs, five at a time, are at home in five objects', async () => {
    const before = (await listDurableObjectIds(bindings.GENERATIONS)).length
    at.upstream.node.pollsNeeded = 0
    const jobs: Job[] = []
    for (let batch = 0; batch < 6; batch++) {
      const five = Array.from({ length: 5 }, (_, index) => at.caller.run({ seed: 5 * batch + index }))
      jobs.push(...(await Promise.all(five)))
      await Promise.all(jobs.slice(-5).map(at.handedOver))
    }
    expect(new Set(jobs.map(({ status }) => status))).toEqual(new Set(['completed']))
    expect((await listDurableObjectIds(bindings.GENERATIONS)).length - before).toBeLessThanOrEqual(5)
    for (const job of jobs) expect((await read(job)).outputs[0]?.sha256).toBe(job.outputs[0]?.sha256)
    expect([...at.upstream.node.executions.values()]).toEqual(jobs.map(() => 1))
  })

  it('are free again when their job is erased before it left', async () => {
    at.upstream.answerOthers = () => new Response(null, { status: 500 })
    const first = await at.caller.run({ seed: 8, webhook: { url: 'https://hooks.example.com/x' } })
    expect(await at.seatOf(first)).toBe(1)
    expect((await at.caller.call('DELETE', `/v1/videos/${first.id}`)).status).toBe(204)
    const second = await at.caller.create({ seed: 9 })
    expect([await at.seatOf(first), await at.seatOf(second)]).toEqual([null, 1])
    await at.handedOver(second)
    expect((await read(second)).status).toBe('completed')
  })

  it('are not woken by ids that nobody has', async () => {
    const before = (await listDurableObjectIds(bindings.GENERATIONS)).length
    for (const path of ['', '/events', '/content']) {
      expect((await at.caller.call('GET', `/v1/videos/${newId('vid')}${path}`)).status).toBe(404)
    }
    expect((await listDurableObjectIds(bindings.GENERATIONS)).length).toBe(before)
  })
})

describe('a job in its seat', () => {
  it('keeps it until its last webhook is out, also when it is over', async () => {
    at.upstream.answerOthers = () => new Response(null, { status: 500 })
    const first = await at.caller.run({ seed: 10, webhook: { url: 'https://hooks.example.com/x' } })
    const second = await at.caller.create({ seed: 11 })
    expect([first.status, await at.seatOf(first), await at.seatOf(second)]).toEqual(['completed', 1, 2])
    await at.handedOver(second)
    expect((await stateIn(1)).some(({ value }) => value.includes(first.id))).toBe(true)
  })

  it('is not driven out of it while it runs', async () => {
    at.upstream.node.life = 'stuck'
    const [first, second] = [await at.caller.create({ seed: 12 }), await at.caller.create({ seed: 13 })]
    const [before, ticket] = [await stateIn(1), await ticketOf(second, 2)]
    // As if the account had taken the seat for a free one.
    await runInDurableObject(account(), (_, { storage }) => {
      storage.sql.exec('UPDATE jobs SET ticket = ? WHERE id = ?', JSON.stringify(ticket), second.id)
    })
    expect(await generationOf(bindings, at.caller.tenant, 1).open({ ...ticket, seat: 1 }, 'key:x')).toBeNull()
    expect((await stateIn(1)).map(({ name }) => name)).toEqual(before.map(({ name }) => name))
    at.upstream.node.life = 'succeeds'
    at.upstream.node.predictions.forEach((prediction) => {
      prediction.life = 'succeeds'
    })
    for (const job of [first, second]) {
      await at.handedOver(job)
      expect((await read(job)).status).toBe('completed')
    }
  })

  it('leaves it only when the account has it', async () => {
    const mend = await runInDurableObject(account(), (_, { storage }) => {
      const exec = storage.sql.exec.bind(storage.sql)
      const spy = vi.spyOn(storage.sql, 'exec').mockImplementation((query: string, ...values: unknown[]) => {
        if (query.startsWith('INSERT INTO records')) throw new Error('disk I/O error')
        return exec(query, ...(values as [])) as never
      })
      return () => spy.mockRestore()
    })
    const complaint = vi.spyOn(console, 'error').mockReturnValue()
    const job = await at.caller.run({ seed: 14 })
    await vi.waitFor(() => expect(complaint).toHaveBeenCalled(), patience)
    expect([(await read(job)).outputs.length, await at.seatOf(job)]).toEqual([1, 1])
    mend()
    complaint.mockRestore()
    await runDurableObjectAlarm(seat(1))
    await at.handedOver(job)
    expect((await read(job)).outputs[0]?.sha256).toBe(job.outputs[0]?.sha256)
  })

  it('does not take along the next one, which was quicker than its own farewell', async () => {
    const archive = Account.prototype.archive
    const creating = at.caller.create({ seed: 15 })
    const held: Promise<Job>[] = []
    const spy = vi.spyOn(Account.prototype, 'archive').mockImplementation(async function (this: Account, ...row) {
      await archive.apply(this, row)
      // Jobs of other tests may still be leaving theirs.
      if (row[0] !== (await creating).id) return
      held.push(at.caller.create({ seed: 16 }))
      await held[0]
    })
    const first = await creating
    const second = await vi.waitFor(() => held[0] ?? expect.fail('the first has not left'), patience)
    expect(await at.seatOf(second)).toBe(1)
    spy.mockRestore()
    await at.handedOver(second)
    for (const job of [first, second]) expect((await read(job)).status).toBe('completed')
  })
})

describe('a job that left its seat to another', () => {
  it('is not opened again by a ticket that comes late, and disturbs the other in nothing', async () => {
    at.upstream.node.life = 'stuck'
    const first = await at.caller.create({ seed: 1 })
    const ticket = await ticketOf(first)
    await at.caller.call('POST', `/v1/videos/${first.id}/cancel`)
    await at.handedOver(first)
    const second = await at.caller.create({ seed: 2 })
    expect(await at.seatOf(second)).toBe(ticket.seat)
    const object = generationOf(bindings, at.caller.tenant, ticket.seat)
    const [viewer, late] = [{ tenant: at.caller.tenant, subject: null }, 'key:late']
    expect(await object.open(ticket, late)).toBeNull()
    expect(await object.attach(first.id, late)).toBeNull()
    expect(await object.read(viewer, first.id)).toBeNull()
    expect(await object.cancel(viewer, first.id, late)).toBeNull()
    expect(await object.erase(viewer, first.id)).toBeNull()
    expect(await object.output(viewer, first.id, { variant: 'video', format: null, index: 0 })).toBeNull()
    expect(await object.hook(first.id, 1, 'msg', 'ref')).toBe(false)
    expect(await object.follow(first.id, second.id, 7)).toBe(false)
    expect(await object.execution(first.id)).toBeNull()
    expect(['queued', 'in_progress']).toContain((await read(second)).status)
    expect((await read(first)).status).toBe('cancelled')
    await at.caller.call('POST', `/v1/videos/${second.id}/cancel`)
    await at.handedOver(second)
    for (const again of [false, true]) {
      // The second time by an object that remembers nobody.
      if (again) await evictDurableObject(seat(1))
      expect([await object.open(ticket, late), await stateIn(1)]).toEqual([null, []])
    }
  })

  it('and died before its object was emptied makes room for the other, and stays what it was', async () => {
    const first = await at.caller.run({ seed: 3 })
    await at.handedOver(first)
    const rest = await stateOf(first)
    await runInDurableObject(seat(1), (_, { storage }) => {
      storage.sql.exec('CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)')
      storage.sql.exec("INSERT INTO meta VALUES ('state', ?)", rest)
      storage.sql.exec("INSERT INTO meta VALUES ('seq', '9')")
      storage.sql.exec('CREATE TABLE log (seq INTEGER PRIMARY KEY, type TEXT NOT NULL, data TEXT NOT NULL)')
      const error = JSON.stringify({ type: 'error', error: { code: 'internal', detail: first.id } })
      storage.sql.exec("INSERT INTO log VALUES (9, 'error', ?)", error)
    })
    await evictDurableObject(seat(1))
    const second = await at.caller.create({ seed: 4 })
    expect(await at.seatOf(second)).toBe(1)
    const events = await (await at.caller.call('GET', `/v1/videos/${second.id}/events`)).text()
    expect([events.includes(first.id), /^id: 1$/m.test(events)]).toEqual([false, true])
    // What is told of the other is signed for the other.
    const [, address = ''] = /^event: output\ndata: .*"url":"https:\/\/edge\.test([^"]+)"/m.exec(events) ?? []
    expect((await knock(address)).status).toBe(200)
    expect((await read(second)).status).toBe('completed')
    expect({ ...(await read(first)), outputs: [] }).toEqual({ ...first, outputs: [] })
    await vi.waitFor(async () => expect(await stateIn(1)).toEqual([]), patience)
  })

  it('has no listener that hears the other', async () => {
    at.upstream.node.life = 'stuck'
    const alice = await mintFor(at.caller, 'alice')
    const first = await alice.create({ seed: 5 })
    const listening = alice.call('GET', `/v1/videos/${first.id}/events`)
    const text = (await listening).text()
    await alice.call('POST', `/v1/videos/${first.id}/cancel`)
    await at.handedOver(first)
    const second = await at.caller.create({ seed: 6 })
    expect(await at.seatOf(second)).toBe(1)
    const heard = await text
    expect([heard.includes(second.id), heard.includes('"cancelled"')]).toEqual([false, true])
  })
})

const ticketOf = ({ id }: Job, number = 1): Promise<Ticket> =>
  runInDurableObject(seat(number), (_, { storage }) => {
    const { value } = storage.sql.exec("SELECT value FROM meta WHERE name = 'state'").one()
    const { ticket } = JSON.parse(String(value)) as { ticket: Ticket }
    expect(ticket.record.id).toBe(id)
    return ticket
  })

/** The state of a completed job in its last moment; some attempt of it might still turn up. */
const stateOf = async ({ id }: Job): Promise<string> => {
  const found = await accountOf(bindings, at.caller.tenant).find({ tenant: at.caller.tenant, subject: null }, id)
  const facts = found?.finished?.facts
  const ticket = { ...facts?.ticket, seat: 1 }
  return JSON.stringify({
    ...facts,
    ticket,
    schema_v: 1,
    run: { phase: 'done', attempts: 2, unknownSince: 1 },
    followAt: 0,
    noted: null,
    shortened: false,
  })
}

describe('a store of the version before', () => {
  it('keeps its money and assets, gives back what open jobs had reserved, and takes new jobs', async () => {
    await runInDurableObject(account(), (_, { storage }) => {
      const { sql } = storage
      for (const table of ['jobs', 'executions', 'idempotency', 'objects', 'sums', 'assets']) {
        sql.exec(`DROP TABLE ${table}`)
      }
      sql.exec(`
        CREATE TABLE jobs (id TEXT PRIMARY KEY, subject TEXT NOT NULL, status TEXT NOT NULL, model TEXT NOT NULL,
          created_at INTEGER NOT NULL, execution TEXT NOT NULL, open INTEGER NOT NULL, checked_at INTEGER NOT NULL,
          ticket TEXT, caller TEXT NOT NULL);
        CREATE TABLE executions (id TEXT PRIMARY KEY, content_key TEXT NOT NULL, state TEXT NOT NULL,
          policy TEXT NOT NULL, shared INTEGER NOT NULL, cost INTEGER NOT NULL, result TEXT, expires_at INTEGER NOT NULL);
        CREATE TABLE idempotency (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job TEXT NOT NULL,
          expires_at INTEGER NOT NULL);
        CREATE TABLE objects (key TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (key, job));
        CREATE TABLE assets (id TEXT PRIMARY KEY, kind TEXT NOT NULL, content_type TEXT NOT NULL,
          bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, status TEXT NOT NULL, created_at INTEGER NOT NULL);
        INSERT INTO assets VALUES ('ast_aaaaaaaaaaaaaaaaaaaaaaaaaa', 'image', 'image/png', 9, 'x', 'ready', 1);
        INSERT INTO executions VALUES ('vid_a', 'k', 'open', '1', 1, 0, NULL, 0);
        INSERT INTO holds VALUES ('vid_a', 4000000);
        INSERT INTO entries VALUES ('debit:vid_b', -1000000, 1);`)
    })
    await evictDurableObject(account())
    const balance = { balance: 9_000_000, held: 0, credits: 10_000_000, debits: 1_000_000 }
    expect(await accountOf(bindings, at.caller.tenant).balance()).toEqual(balance)
    const asset = await at.caller.call('GET', '/v1/assets/ast_aaaaaaaaaaaaaaaaaaaaaaaaaa')
    expect(await asset.json()).toMatchObject({ status: 'ready' })
    expect((await at.caller.run({ seed: 7 })).status).toBe('completed')
  })
})
