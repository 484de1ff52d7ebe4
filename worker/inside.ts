/**
 * The Worker's inside in tests: a tenant of its own for each, and the objects in which its account and its jobs live.
 */

import { beforeEach, expect, vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import { bindings, type Caller, fakeUpstream, newTenant, type Upstream } from './front-door.ts'
import { accountOf, generationOf } from './objects/contract.ts'

/** How long a test waits for what happens by itself. */
export const patience = { timeout: 60_000, interval: 20 }

export interface Inside {
  readonly upstream: Upstream
  readonly caller: Caller
  readonly account: () => DurableObjectStub
  readonly seat: (number: number) => DurableObjectStub
  readonly seatOf: (job: Job) => Promise<number | null>
  readonly read: (job: Job) => Promise<Job>
  /** Waits until a job is one of the account's rows. */
  readonly handedOver: (job: Job) => Promise<void>
}

const stubOf = (object: unknown) => object as DurableObjectStub

/** Fakes and a caller with some credit, new before each test of the file. */
export function inside(): Inside {
  let upstream: Upstream
  let caller: Caller
  beforeEach(async () => {
    upstream = fakeUpstream()
    caller = await newTenant('10')
  })
  const seatOf = ({ id }: Job) => accountOf(bindings, caller.tenant).seat(id)
  return {
    get upstream() {
      return upstream
    },
    get caller() {
      return caller
    },
    account: () => stubOf(accountOf(bindings, caller.tenant)),
    seat: (number) => stubOf(generationOf(bindings, caller.tenant, number)),
    seatOf,
    read: async ({ id }) => (await (await caller.call('GET', `/v1/videos/${id}`)).json()) as Job,
    handedOver: (job) => vi.waitFor(async () => expect(await seatOf(job)).toBeNull(), patience),
  }
}
