/**
 * The directory: one Durable Object that knows which API keys and which busy tenants there are.
 *
 * Keys are here as fingerprints alone. Isolates remember an answer for five seconds, so a revocation is felt within
 * five. It also remembers which providers rest after refusing our account.
 */

import { DurableObject } from 'cloudflare:workers'
import type { Scope } from '../auth/browser-token.ts'
import { base64 } from '../bytes.ts'
import type { Env } from '../env.ts'
import type { DirectoryObject, KeyRow } from './contract.ts'

const tables = `
  CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, scopes TEXT NOT NULL, name TEXT NOT NULL,
    created_at INTEGER NOT NULL, revoked INTEGER NOT NULL, fingerprint TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS tenants (name TEXT PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS resting (provider TEXT PRIMARY KEY, until INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS development (id INTEGER PRIMARY KEY, secret TEXT NOT NULL);`

export class Directory extends DurableObject<Env> implements DirectoryObject {
  readonly #sql: SqlStorage

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    this.#sql.exec(tables)
  }

  /** A signing secret for starts without one; a deployment has its own and never asks. */
  async developmentSecret(): Promise<string> {
    const fresh = base64(crypto.getRandomValues(new Uint8Array(32)))
    this.#sql.exec('INSERT OR IGNORE INTO development VALUES (1, ?)', fresh)
    return String(this.#sql.exec('SELECT secret FROM development').one().secret)
  }

  async createKey({ id, tenant, scopes, name, created_at }: KeyRow, fingerprint: string): Promise<void> {
    this.#sql.exec(
      'INSERT INTO keys VALUES (?, ?, ?, ?, ?, 0, ?)',
      id,
      tenant,
      JSON.stringify(scopes),
      name,
      created_at,
      fingerprint,
    )
  }

  async key(id: string) {
    const [row] = this.#sql.exec('SELECT * FROM keys WHERE id = ?', id).toArray()
    return row === undefined ? null : { ...keyRow(row), fingerprint: String(row.fingerprint) }
  }

  async keys(): Promise<KeyRow[]> {
    return this.#sql.exec('SELECT * FROM keys ORDER BY created_at').toArray().map(keyRow)
  }

  async revokeKey(id: string): Promise<boolean> {
    return this.#sql.exec('UPDATE keys SET revoked = 1 WHERE id = ? AND revoked = 0', id).rowsWritten > 0
  }

  async active(tenant: string): Promise<void> {
    this.#sql.exec('INSERT OR IGNORE INTO tenants VALUES (?)', tenant)
  }

  async idle(tenant: string): Promise<void> {
    this.#sql.exec('DELETE FROM tenants WHERE name = ?', tenant)
  }

  async tenants(): Promise<string[]> {
    return this.#sql
      .exec('SELECT name FROM tenants')
      .toArray()
      .map((row) => String(row.name))
  }

  async trip(provider: string, until: number): Promise<void> {
    this.#sql.exec('INSERT OR REPLACE INTO resting VALUES (?, ?)', provider, until)
  }

  async restingUntil(provider: string): Promise<number> {
    const [row] = this.#sql.exec('SELECT until FROM resting WHERE provider = ?', provider).toArray()
    return Number(row?.until ?? 0)
  }
}

const keyRow = (row: Record<string, SqlStorageValue>): KeyRow => ({
  id: String(row.id),
  tenant: String(row.tenant),
  scopes: JSON.parse(String(row.scopes)) as Scope[],
  name: String(row.name),
  created_at: Number(row.created_at),
  revoked: row.revoked === 1,
})
