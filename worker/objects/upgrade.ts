/**
 * Stores that an older version wrote, brought to the layout of this one. Runs before the tables are made.
 *
 * Money and assets are kept. Jobs lived in objects of their own then and cannot be reached any more: they are let go,
 * and what they had reserved is given back.
 */

/** Does nothing to a store that is new or of this layout. */
export function upgrade(sql: SqlStorage): void {
  if (columnsOf(sql, 'executions').includes('result')) {
    sql.exec('DROP TABLE jobs; DROP TABLE executions; DROP TABLE idempotency; DROP TABLE objects; DELETE FROM holds')
  }
  const assets = columnsOf(sql, 'assets')
  if (assets.length > 0 && !assets.includes('subject')) {
    sql.exec("ALTER TABLE assets ADD COLUMN subject TEXT NOT NULL DEFAULT ''")
  }
}

const columnsOf = (sql: SqlStorage, table: 'executions' | 'assets'): string[] =>
  sql
    .exec<{ name: string }>(`PRAGMA table_info(${table})`)
    .toArray()
    .map(({ name }) => name)
