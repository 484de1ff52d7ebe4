/**
 * Webhook endpoints of one tenant, with their sealed secrets.
 *
 * Knows no requests and opens no seal.
 */

import type { EndpointRow, EndpointSecrets, NewEndpoint } from './contract.ts'

export const endpointTable = `
  CREATE TABLE IF NOT EXISTS endpoints (id TEXT PRIMARY KEY, url TEXT NOT NULL, events TEXT NOT NULL,
    secret TEXT NOT NULL, disabled INTEGER NOT NULL, created_at INTEGER NOT NULL);`

interface HeldSecret {
  readonly secret: string
  /** null for the newest. */
  readonly until: number | null
}

const rotationMs = 86_400_000

/** A new endpoint; for an address that is known already, a new secret beside the old one, which goes in a day. */
export function keepEndpoint(sql: SqlStorage, { row, sealedSecret: secret }: NewEndpoint): EndpointRow {
  const { id, url, events, created_at } = row
  const until = created_at + rotationMs
  const [known] = sql.exec('SELECT id, secret FROM endpoints WHERE url = ?', url).toArray()
  if (known === undefined) {
    const secrets = JSON.stringify([{ secret, until: null }])
    sql.exec('INSERT INTO endpoints VALUES (?, ?, ?, ?, 0, ?)', id, url, JSON.stringify(events), secrets, created_at)
    return row
  }
  const [newest] = JSON.parse(String(known.secret)) as [HeldSecret]
  const secrets = JSON.stringify([
    { secret, until: null },
    { ...newest, until },
  ])
  sql.exec(
    'UPDATE endpoints SET secret = ?, events = ?, disabled = 0 WHERE id = ?',
    secrets,
    JSON.stringify(events),
    String(known.id),
  )
  return { ...row, id: String(known.id) }
}

/** All endpoints, oldest first. */
export const endpointsOf = (sql: SqlStorage): EndpointRow[] =>
  sql
    .exec('SELECT id, url, events, disabled, created_at FROM endpoints ORDER BY created_at')
    .toArray()
    .map((row) => ({
      id: String(row.id),
      url: String(row.url),
      events: JSON.parse(String(row.events)) as string[],
      disabled: row.disabled === 1,
      created_at: Number(row.created_at),
    }))

/** Where an endpoint is and what it is signed for with; null where it is gone or switched off. */
export function secretsOf(sql: SqlStorage, id: string, now: number): EndpointSecrets | null {
  const [row] = sql.exec('SELECT url, secret FROM endpoints WHERE id = ? AND disabled = 0', id).toArray()
  if (row === undefined) return null
  const held = JSON.parse(String(row.secret)) as HeldSecret[]
  const good = held.filter(({ until }) => until === null || until > now)
  return { url: String(row.url), secrets: good.map(({ secret }) => secret) }
}
