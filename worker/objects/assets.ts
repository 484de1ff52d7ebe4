/**
 * Assets of one tenant, each of the subject that announced it, and their uploads under way.
 *
 * A subject has what it made itself, an API key all of its tenant.
 */

import type { AssetRow, Viewer } from './contract.ts'

export const assetTables = `
  CREATE TABLE IF NOT EXISTS assets (id TEXT PRIMARY KEY, kind TEXT NOT NULL, content_type TEXT NOT NULL,
    bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, status TEXT NOT NULL, created_at INTEGER NOT NULL,
    subject TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS uploads (asset TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;`

/** How long an upload keeps others away where its machine died. */
const uploadMs = 300_000

const isOwn = ({ subject }: Viewer, row: AssetRow): boolean => subject === null || subject === row.subject

/** An asset; null where a viewer sees none. */
export function assetOf(sql: SqlStorage, viewer: Viewer, id: string): AssetRow | null {
  const [row] = sql.exec('SELECT * FROM assets WHERE id = ?', id).toArray() as unknown as AssetRow[]
  return row !== undefined && isOwn(viewer, row) ? row : null
}

/** Keeps a new asset, or gives the ready one of the same bytes that the viewer has already. */
export function keepAsset(sql: SqlStorage, viewer: Viewer, row: AssetRow): AssetRow {
  const ready = sql
    .exec("SELECT * FROM assets WHERE sha256 = ? AND kind = ? AND status = 'ready'", row.sha256, row.kind)
    .toArray() as unknown as AssetRow[]
  const known = ready.find((each) => isOwn(viewer, each))
  if (known !== undefined) return known
  const { id, kind, content_type, bytes, sha256, status, created_at, subject } = row
  sql.exec(
    `INSERT INTO assets (id, kind, content_type, bytes, sha256, status, created_at, subject)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    id,
    kind,
    content_type,
    bytes,
    sha256,
    status,
    created_at,
    subject,
  )
  return row
}

/** Notes that an asset is being uploaded; false where another upload of it is on its way. */
export function beginUpload(sql: SqlStorage, id: string, now: number): boolean {
  sql.exec('DELETE FROM uploads WHERE until <= ?', now)
  return sql.exec('INSERT OR IGNORE INTO uploads VALUES (?, ?)', id, now + uploadMs).rowsWritten > 0
}

/** Notes how the upload of an asset ended. */
export function finishUpload(sql: SqlStorage, id: string, status: 'ready' | 'rejected'): void {
  sql.exec('DELETE FROM uploads WHERE asset = ?', id)
  sql.exec("UPDATE assets SET status = ? WHERE id = ? AND status = 'pending'", status, id)
}
