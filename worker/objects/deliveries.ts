/**
 * Webhooks out: thin, signed, and tried ten times over three days.
 *
 * Each job delivers its own, so a dead endpoint delays nobody else. Source: Standard Webhooks; the body says which
 * job and which status, and the receiver asks for the rest.
 */

import type { JobStatus } from '../../shared/job.ts'
import { utf8 } from '../bytes.ts'
import { newId } from '../ids.ts'
import { secretBytes, signedHeaders } from '../standard-webhooks.ts'
import { withTimeLimit } from '../time-limit.ts'
import type { EndpointSecrets, JobRecord } from './contract.ts'

export const deliveryTable = `CREATE TABLE IF NOT EXISTS deliveries (number INTEGER PRIMARY KEY, id TEXT NOT NULL,
  body TEXT NOT NULL, attempt INTEGER NOT NULL, due_at INTEGER NOT NULL);`

const [second, minute, hour] = [1_000, 60_000, 3_600_000]
/** From one attempt to the next; after the last there is none. */
export const retryDelays: readonly number[] = [
  5 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
]
const timeoutMs = 15_000
const jitter = 0.1

const names: Readonly<Partial<Record<JobStatus, string>>> = {
  queued: 'video.queued',
  in_progress: 'video.started',
  completed: 'video.completed',
  failed: 'video.failed',
  cancelled: 'video.cancelled',
  expired: 'video.expired',
}

/** Notes a status to be delivered, where somebody asked to hear of it. */
export function enqueue(sql: SqlStorage, { webhook, id }: JobRecord, status: JobStatus, now: number): void {
  const type = names[status]
  if (webhook === null || type === undefined || !webhook.events.includes(type)) return
  const body = JSON.stringify({ type, timestamp: new Date(now).toISOString(), data: { id, status } })
  sql.exec('INSERT INTO deliveries (id, body, attempt, due_at) VALUES (?, ?, 0, ?)', newId('msg'), body, now)
}

export function nextDelivery(sql: SqlStorage): number {
  return Number(sql.exec('SELECT MIN(due_at) AS due FROM deliveries').one().due ?? Number.MAX_SAFE_INTEGER)
}

export interface DeliveryPorts {
  readonly now: () => number
  readonly random: () => number
  readonly send: typeof globalThis.fetch
  /** Where to and signed with what; null where the endpoint is gone or switched off. */
  readonly target: () => Promise<EndpointSecrets | null>
  /** The endpoint said it wants no more. */
  readonly disable: () => Promise<void>
}

/** Makes every attempt that is due, in the order things happened. */
export async function deliver(sql: SqlStorage, ports: DeliveryPorts): Promise<void> {
  const rows = sql.exec('SELECT * FROM deliveries WHERE due_at <= ? ORDER BY number LIMIT 8', ports.now()).toArray()
  if (rows.length === 0) return
  const target = await ports.target()
  for (const row of rows) {
    const [id, attempt] = [String(row.id), Number(row.attempt)]
    const answer = target === null ? 'gone' : await attemptOnce(id, String(row.body), target, ports)
    if (answer === 'gone') await ports.disable()
    const delay = retryDelays[attempt]
    if (answer !== 'again' || delay === undefined) sql.exec('DELETE FROM deliveries WHERE id = ?', id)
    else {
      const due = ports.now() + Math.ceil(delay * (1 + jitter * ports.random()))
      sql.exec('UPDATE deliveries SET attempt = ?, due_at = ? WHERE id = ?', attempt + 1, due, id)
    }
  }
}

async function attemptOnce(
  id: string,
  body: string,
  { url, secrets }: EndpointSecrets,
  { now, send }: DeliveryPorts,
): Promise<'done' | 'gone' | 'again'> {
  const bytes = utf8(body)
  const keys = secrets.flatMap((secret) => secretBytes(secret) ?? [])
  try {
    const headers = await signedHeaders(id, Math.floor(now() / 1000), bytes, keys)
    const response = await withTimeLimit(timeoutMs, (signal) =>
      // A redirect is a failure: it would lead where nobody checked.
      send(url, { method: 'POST', body: bytes, headers, redirect: 'manual', signal }),
    )
    await response.body?.cancel()
    if (response.status === 410) return 'gone'
    return response.status >= 200 && response.status < 300 ? 'done' : 'again'
  } catch {
    return 'again'
  }
}
