/**
 * Benchmarks of the edge, paired in one run: `npm run bench:edge -- [--pairs N] [--jobs N] [--json]`.
 *
 * The deployed bundle and a bare Hono route run in one workerd, each on a socket of its own. A cached hit and the bare
 * route take turns; then come new submissions; then jobs are run to their end, and their stores are weighed. The
 * provider is a fake in this process, so nothing here measures a model.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { convertV4MiniflareOptions, Miniflare, Response as WorkerResponse } from 'miniflare'
import { freePort } from '../../models/node/start/ports.ts'
import { bundleWorker, filesUnder } from '../edge-process.ts'
import { nodeUrl, operatorToken, testBindings } from '../edge-settings.ts'
import { fakeProvider } from '../fake-provider.ts'

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '500' },
    jobs: { type: 'string', default: '1000' },
    json: { type: 'boolean', default: false },
  },
})
const [pairs, jobs] = [Number(values.pairs), Number(values.jobs)]
const folder = await mkdtemp(join(tmpdir(), 'zoetrope-bench-'))
const node = fakeProvider({ baseUrl: nodeUrl, outputHost: 'node.test' })
node.pollsNeeded = 0
const [edgePort, barePort] = [await freePort(22_700), await freePort(22_720)]

const [script, bare] = [
  await bundleWorker(join(folder, 'edge')),
  await bundleWorker(join(folder, 'bare'), join('test', 'bench', 'bare', 'wrangler.toml')),
]
const object = (className: string) => ({ className, useSQLite: true })
const shared = {
  compatibilityDate: '2026-10-01',
  compatibilityFlags: ['nodejs_compat'],
  kvNamespaces: { CATALOG: 'catalog' },
  r2Buckets: { BUCKET: 'bucket' },
}
const socket = (port: number) => [{ host: '127.0.0.1', port }]
const platform = new Miniflare(
  convertV4MiniflareOptions({
    resourcePersistencePath: join(folder, 'stores'),
    cf: false,
    workers: [
      {
        ...shared,
        name: 'zoetrope',
        modulesRoot: dirname(script),
        modules: [{ type: 'ESModule', path: script }],
        bindings: testBindings,
        durableObjects: {
          GENERATIONS: object('Generation'),
          ACCOUNTS: object('Account'),
          DIRECTORY: object('Directory'),
        },
        unsafeDirectSockets: socket(edgePort),
        outboundService: async (request: { url: string; method: string; text(): Promise<string> }) => {
          const body = await request.text()
          const answer = await node.fetch(request.url, { method: request.method, ...(body === '' ? {} : { body }) })
          return new WorkerResponse(await answer.arrayBuffer(), { status: answer.status, headers: [...answer.headers] })
        },
      },
      {
        ...shared,
        name: 'bare',
        modulesRoot: dirname(bare),
        modules: [{ type: 'ESModule', path: bare }],
        unsafeDirectSockets: socket(barePort),
      },
    ],
  }),
)

const edge = `http://127.0.0.1:${edgePort}`

async function post(path: string, token: string, body: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${edge}${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
  })
  const answer = (await response.json()) as Record<string, string>
  if (!response.ok) throw new Error(`${path} answers ${response.status}: ${JSON.stringify(answer)}`)
  return answer
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  await act()
  return performance.now() - begin
}

const quantile = (times: readonly number[], share: number): number =>
  [...times].sort((one, other) => one - other)[Math.floor(times.length * share)] ?? Number.NaN

/** Pages of every database of a class, in bytes: what the platform counts, logs and memory maps apart. */
function bytesUnder(place: string): number {
  const files = filesUnder(join(folder, 'stores', place)).filter((file) => file.endsWith('.sqlite'))
  return files.filter((file) => !file.endsWith('metadata.sqlite')).reduce((sum, file) => sum + pagesOf(file), 0)
}

function pagesOf(file: string): number {
  using database = new DatabaseSync(file, { readOnly: true, timeout: 10_000 })
  const [count, size] = ['page_count', 'page_size'].map((name) =>
    Number(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]),
  ) as [number, number]
  return count * size
}

type Submit = (seed: number, wait?: boolean) => Promise<Record<string, string>>

/** Each in its turn, first one and then the other first, so that neither is always the one that follows a pause. */
async function turns(hit: () => Promise<unknown>, bare: () => Promise<unknown>) {
  const [hits, bares]: [number[], number[]] = [[], []]
  for (let turn = -50; turn < pairs; turn++) {
    const both = [async () => void hits.push(await timed(hit)), async () => void bares.push(await timed(bare))] as const
    await both[turn & 1]?.()
    await both[1 - (turn & 1)]?.()
    if (turn < 0) hits.length = bares.length = 0
  }
  return { hits, bares }
}

/** New submissions. What each sets going is over before the next; a second request joins it to wait for that. */
async function submissions(submit: Submit): Promise<number[]> {
  const times: number[] = []
  for (let seed = 10_000; seed < 10_000 + pairs / 5; seed++) {
    times.push(await timed(() => submit(seed)))
    await submit(seed, true)
  }
  return times
}

async function runAll(submit: Submit) {
  const crowd = 50
  for (let from = 0; from < jobs; from += crowd) {
    const batch = Array.from({ length: Math.min(crowd, jobs - from) }, (_, index) => submit(1e6 + from + index, true))
    for (const { status } of await Promise.all(batch)) if (status !== 'completed') throw new Error(`a job is ${status}`)
  }
}

try {
  await platform.ready
  const { key = '' } = await post('/operator/keys', operatorToken, { tenant: 'bench' })
  const submit = (seed: number, wait = false) =>
    post('/v1/videos', key, { prompt: 'a fox', seed }, wait ? { prefer: 'wait=60' } : {})
  const kv = (await platform.getKVNamespace('CATALOG')) as { put(name: string, value: string): Promise<void> }
  const r2 = (await platform.getR2Bucket('BUCKET')) as { put(name: string, value: string): Promise<unknown> }
  await Promise.all([kv.put('bench', 'value'), r2.put('bench', 'value'), submit(1, true)])
  const { hits, bares } = await turns(
    () => submit(1),
    async () => (await fetch(`http://127.0.0.1:${barePort}/bare`)).text(),
  )
  const submits = await submissions(submit)
  const weigh = () => [bytesUnder('do/zoetrope-Account'), bytesUnder('do/zoetrope-Generation')] as const
  const [accountBefore, generationBefore] = weigh()
  await runAll(submit)
  const [accountAfter, generationAfter] = weigh()
  const ms = (value: number) => Math.round(value * 100) / 100
  const figures = {
    hit_p50_ms: ms(quantile(hits, 0.5)),
    bare_p50_ms: ms(quantile(bares, 0.5)),
    hit_over_bare: ms(quantile(hits, 0.5) / quantile(bares, 0.5)),
    submit_p50_ms: ms(quantile(submits, 0.5)),
    submit_p99_ms: ms(quantile(submits, 0.99)),
    jobs,
    account_bytes_per_job: Math.round((accountAfter - accountBefore) / jobs),
    generation_bytes_per_job: Math.round((generationAfter - generationBefore) / jobs),
  }
  process.stdout.write(values.json ? `${JSON.stringify(figures)}\n` : `${lines(figures)}\n`)
} finally {
  await platform.dispose()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

function lines(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name.padEnd(26)}${value}`)
    .join('\n')
}
