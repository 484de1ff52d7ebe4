/**
 * The operator's command against a running edge, and what that edge leaves behind: no secret in any store or log.
 *
 * The edge runs in a process of its own over a folder; when it has done a bit of everything the folder is read back, as
 * bytes and as rows, together with all it printed.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleWorker, filesUnder } from './edge-process.ts'
import { operatorToken, testBindings } from './edge-settings.ts'
import { type MortalEdge, mortalEdge } from './mortal-edge.ts'
import { root } from './sources.ts'

let folder: string
let edge: MortalEdge

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-secrets-'))
  edge = await mortalEdge(
    { script: await bundleWorker(join(folder, 'bundle')), folder: join(folder, 'stores'), port: 22_500 },
    {},
  )
}, 300_000)

afterAll(async () => {
  edge?.close()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
})

interface Outcome {
  readonly code: number
  readonly out: string
  readonly error: string
}

/** `zoetrope keys …`, as the operator types it. */
function keys(words: readonly string[], token: string | undefined = operatorToken): Promise<Outcome> {
  const environment = { PATH: process.env.PATH, ZOETROPE_URL: edge.edge.url, OPERATOR_TOKEN: token }
  return new Promise((resolve) => {
    const all = [join(root, 'bin', 'zoetrope.mjs'), 'keys', ...words]
    execFile(process.execPath, all, { env: environment }, (failure, out, error) => {
      resolve({ code: typeof failure?.code === 'number' ? failure.code : 0, out, error })
    })
  })
}

const asked = (path: string, key: string): Promise<number> =>
  fetch(`${edge.edge.url}${path}`, { headers: { authorization: `Bearer ${key}` } }).then(({ status }) => status)

describe('zoetrope keys', { timeout: 300_000 }, () => {
  it('makes a key that opens the door, lists it, and revokes it', async () => {
    const made = await keys(['create', '--tenant', 'acme', '--name', 'backend', '--scopes', 'video:read', '--json'])
    expect([made.code, made.error]).toEqual([0, ''])
    const { id, key } = JSON.parse(made.out) as { id: string; key: string }
    expect(key).toMatch(/^zoe_live_/)
    expect(await asked('/v1/videos', key)).toBe(200)
    const { out } = await keys(['list', '--tenant', 'acme', '--json'])
    expect(JSON.parse(out).data).toMatchObject([{ id, tenant: 'acme', name: 'backend', revoked: false }])
    expect(out).not.toContain(key)
    expect((await keys(['revoke', id])).code).toBe(0)
    expect(JSON.parse((await keys(['list', '--tenant', 'acme', '--json'])).out).data[0].revoked).toBe(true)
    // Revoking what is revoked already is a mistake worth telling.
    expect((await keys(['revoke', id])).error).toContain('no good key has this id')
  })

  it('says in one sentence what is wrong', async () => {
    const cases: readonly (readonly [readonly string[], string, number, string?])[] = [
      [['create'], '--tenant is missing', 2],
      [['mint'], 'allowed are create, list, revoke', 2],
      [['revoke'], 'allowed 1', 2],
      [['create', '--tenant', 'Not A Tenant'], 'tenant', 2],
      [['create', '--tenant', 'acme', '--scopes', 'everything'], 'scopes', 2],
      [['list', '--url', 'ftp://x'], 'allowed is an http or https address', 2],
      [['list', '--url', 'http://127.0.0.1:9'], 'does not answer', 1],
      [['list'], "refuses the operator's secret", 1, 'wrong'],
      [['list'], "the operator's secret is missing", 2, ''],
    ]
    for (const [words, sentence, code, token] of cases) {
      const outcome = await keys(words, token)
      expect([words, outcome.error, outcome.code]).toEqual([words, expect.stringContaining(sentence), code])
      expect(outcome.error.trim().split('\n')).toHaveLength(1)
    }
  })
})

/** Every store and every line, as one long text: files as they lie, and rows as SQL gives them. */
async function everything(): Promise<string> {
  const files = filesUnder(join(folder, 'stores'))
  const bytes = await Promise.all(files.map((file) => readFile(file, 'latin1')))
  const rows = files.filter((file) => file.endsWith('.sqlite')).flatMap(rowsOf)
  return [...bytes, ...rows, ...edge.edge.said].join('\n')
}

function rowsOf(file: string): string[] {
  using database = new DatabaseSync(file, { readOnly: true, readBigInts: true })
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all()
  return tables.flatMap(({ name }) =>
    database
      .prepare(`SELECT * FROM "${String(name)}"`)
      .all()
      .map((row) => Object.values(row).map(shown).join(' ')),
  )
}

const shown = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)

async function json(method: string, path: string, body?: object): Promise<Record<string, string>> {
  return (await edge.call(method, path, body)).json() as Promise<Record<string, string>>
}

describe('a secret', { timeout: 300_000 }, () => {
  it('is in no store and in no line of the log after a run that used them all', async () => {
    const { secret = '', id: endpoint = '' } = await json('POST', '/v1/webhook_endpoints', {
      url: 'https://hooks.app.dev/900',
    })
    const { default_secret: fallback = '' } = await json('GET', '/v1/webhook_endpoints')
    const { token = '', jti = '' } = await json('POST', '/v1/tokens', { subject: 'alice' })
    expect(await asked('/v1/videos', token)).toBe(200)
    const job = await edge.create(901, { webhook: { endpoint_id: endpoint, events: ['video.completed'] } })
    const other = await edge.create(902, { model: 'wan-2.2-t2v-fast' }, { 'cancel-after': '30s' })
    await expect
      .poll(async () => (await json('GET', `/v1/videos/${job.id}`)).status, { timeout: 120_000 })
      .toBe('completed')
    await expect.poll(() => edge.deliveries.get(900)?.length, { timeout: 120_000 }).toBe(1)
    await expect.poll(() => edge.executions(902), { timeout: 120_000 }).toBe(1)
    edge.edge.kill()
    const all = await everything()
    // The search finds what is there: a job, a token's name, a key's name.
    for (const known of [job.id, other.id, jti, endpoint, edge.key.slice(9, 21)]) expect(all).toContain(known)
    const { NODE_TOKEN, REPLICATE_API_TOKEN, SIGNING_SECRET } = testBindings
    const secrets = { key: edge.key, token, secret, fallback, NODE_TOKEN, REPLICATE_API_TOKEN, SIGNING_SECRET }
    const bare = [secret, fallback].map((text) => text.replace('whsec_', ''))
    for (const [name, value] of [...Object.entries({ ...secrets, operatorToken }), ...bare.entries()]) {
      expect(value.length).toBeGreaterThan(20)
      expect([name, all.split(value).length - 1]).toEqual([name, 0])
    }
    // The part of a key that is secret, by itself.
    expect(all).not.toContain(edge.key.slice(22, -8))
  })
})
