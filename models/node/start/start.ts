/**
 * `npm start`: studio, GPU node and Worker, in this order, under one address, until Ctrl-C.
 *
 * The node gets a token made up for this run; the Worker learns it, with where the node's API begins, as NODE_TOKEN and
 * NODE_URL from its environment, so that neither stands on a command line. Runs from a checkout: the Worker is served
 * by `wrangler dev`, without asking any network.
 */

import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { GenerationError } from '../../../shared/errors.ts'
import type { ModelCard } from '../../../shared/manifest.ts'
import { helpOf, type OptionTable, readArguments } from '../command.ts'
import { defaultNodePort, tokenVariable } from '../commands/serve.ts'
import { type Child, startChild } from './child.ts'
import { freePort } from './ports.ts'
import { studioAssets } from './studio.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const defaultPort = 8787
const patience = 60_000

const options = {
  port: { kind: 'number', value: 'N', help: `port of the address (${defaultPort})` },
  'node-port': { kind: 'number', value: 'N', help: `port of the GPU node (${defaultNodePort})` },
  folder: { kind: 'text', value: 'DIR', help: 'where cards/ and weights/ are (those of this package)' },
  slots: { kind: 'number', value: 'N', help: 'predictions that run at once (1)' },
  provider: { kind: 'text', value: 'NAME', help: 'execution provider: cpu, cuda, webgpu (cpu)' },
} as const satisfies OptionTable

const say = (line: string) => process.stderr.write(`${line}\n`)

/** Runs until interrupted; gives the exit code: 0 after Ctrl-C, 1 where a part failed, 2 for a wrong option. */
export async function start(words: readonly string[]): Promise<number> {
  const stop = interruption()
  const children: Child[] = []
  try {
    const given = readArguments(words, options)
    if (given.flag('help')) {
      const help = { summary: 'Serve the studio and the API.', usage: '[options]', options, run: async () => {} }
      process.stdout.write(helpOf('start', help).replace('zoetrope start', 'npm start --'))
      return 0
    }
    const address = await startAll(given, children, stop)
    if (given.flag('json')) process.stdout.write(`${JSON.stringify({ address })}\n`)
    else process.stdout.write(`Zoetrope is ready: ${address}  (Ctrl-C stops it)\n`)
    const stopCron = triggerCron(address)
    await Promise.race([stop.asked, anyEnd(children)]).finally(stopCron)
    return 0
  } catch (error) {
    if (stop.signal.aborted) return 0
    say(error instanceof Error ? error.message : String(error))
    return error instanceof GenerationError && error.status === 422 ? 2 : 1
  } finally {
    await endAll(children, stop.insisted)
    stop.release()
  }
}

type Given = ReturnType<typeof readArguments>

async function startAll(given: Given, children: Child[], { asked, signal }: Interruption): Promise<string> {
  const [port, nodePort] = await ports(given)
  const assets = await studioAssets(root, say)
  signal.throwIfAborted()
  const token = randomBytes(24).toString('base64url')
  const address = `http://127.0.0.1:${port}`
  const node = startNodeChild(given, nodePort, token, address)
  children.push(node.child)
  const { url, models } = await Promise.race([node.ready, neverEnds(node.child), asked])
  if (models.length === 0) say('no model is released yet: the API answers, but nothing can be generated here')
  const cards = given.text('folder') === undefined ? {} : await foreignCards(url, token)
  const worker = startWorkerChild({
    port,
    assets: assets.words,
    variables: {
      ENVIRONMENT: 'development',
      NODE_URL: `${url}/v1`,
      NODE_TOKEN: token,
      HOOKS_URL: address,
      ...cards,
    },
  })
  children.push(worker)
  await Promise.race([answering(`${address}/healthz`), anyEnd(children), asked])
  return address
}

async function ports(given: Given): Promise<[number, number]> {
  const [wanted, wantedNode] = [given.number('port') ?? defaultPort, given.number('node-port') ?? defaultNodePort]
  for (const value of [wanted, wantedNode]) {
    if (!Number.isInteger(value) || value < 1 || value > 65535) {
      throw new GenerationError('invalid_parameter', `--port: got ${value}, allowed is a whole number from 1 to 65535`)
    }
  }
  const [port, nodePort] = [await freePort(wanted), await freePort(wantedNode)]
  if (port !== wanted) say(`port ${wanted} is taken, so this one is at ${port}`)
  if (nodePort !== wantedNode) say(`port ${wantedNode} is taken, so its GPU node is at ${nodePort}`)
  return [port, nodePort]
}

interface NodeReady {
  readonly url: string
  readonly models: readonly string[]
}

function startNodeChild(given: Given, port: number, token: string, address: string) {
  let resolve: (ready: NodeReady) => void
  const ready = new Promise<NodeReady>((settle) => {
    resolve = settle
  })
  const passed = ['folder', 'slots', 'provider'].flatMap((name) => {
    const value = given.text(name)
    return value === undefined ? [] : [`--${name}`, value]
  })
  // However callers name the Worker, through a forwarded port say, its hooks name this address (HOOKS_URL).
  const serve = ['serve', '--json', '--port', String(port), '--webhooks', address, ...passed]
  const child = startChild({
    name: 'the GPU node',
    words: [join(root, 'bin', 'zoetrope.mjs'), ...serve],
    folder: root,
    environment: { ...basics(), ...inherited(nodeVariables), [tokenVariable]: token },
    onLine: (line, from) => (from === 'out' ? resolve(JSON.parse(line) as NodeReady) : say(line)),
  })
  return { child, ready }
}

interface WorkerOptions {
  readonly port: number
  readonly assets: readonly string[]
  /** What the Worker finds in its `env`, over wrangler.toml. */
  readonly variables: Readonly<Record<string, string>>
}

function startWorkerChild({ port, assets, variables }: WorkerOptions): Child {
  const wrangler = join(root, 'node_modules', 'wrangler', 'bin', 'wrangler.js')
  const where = ['--ip', '127.0.0.1', '--port', String(port), '--inspector-port', '0']
  // Two at once must not write one database, so only the usual port has the usual state.
  const state = port === defaultPort ? [] : ['--persist-to', `.wrangler/state-${port}`]
  // With a file named, wrangler reads it and the environment; without, an existing .dev.vars would hide the latter.
  const own = existsSync(join(root, '.dev.vars')) ? ['--env-file', '.dev.vars'] : []
  return startChild({
    name: 'the Worker',
    words: [wrangler, 'dev', ...where, ...state, ...own, ...assets, '--show-interactive-dev-session=false'],
    folder: root,
    environment: {
      ...basics(),
      ...offline,
      CLOUDFLARE_INCLUDE_PROCESS_ENV: 'true',
      ...inherited(workerVariables),
      ...variables,
    },
    onLine: (line) => {
      if (!chatter.some((pattern) => pattern.test(stripVTControlCharacters(line)))) say(line)
    },
  })
}

/** Without these, a start may wait 15 seconds for a network that drops packets. */
const offline = { CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false', DO_NOT_TRACK: '1' } as const

/** What wrangler says of itself, its advice on cron included, which is heeded below; the rest is the Worker's own log. */
const chatter = [
  /^\s*$|^ ⛅️|^─+$|^Using secrets|^Your Worker has access|^Binding\s|^env\.|^⎔|^\[wrangler:info\]|^\[custom build\]/,
  /^▲ \[WARNING\] (?:A new|Scheduled Workers are not automatically|NOSENTRY)/,
  /^\s+(?:To manually trigger a scheduled event|curl "http:|For more details, see)/,
]

/** Locally nobody triggers the Worker's cron, so jobs whose alarm was lost would wait for ever. */
function triggerCron(address: string): () => void {
  const timer = setInterval(() => {
    fetch(`${address}/cdn-cgi/local/scheduled`)
      .then((response) => response.body?.cancel())
      .catch(() => {})
  }, 60_000)
  return () => clearInterval(timer)
}

/** The environment becomes bindings of the Worker, so it gets no more than it needs. */
function basics(): Record<string, string> {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LANG']
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  )
}

/** Where the node finds libraries and devices. */
const nodeVariables = /^(?:LD_|CUDA_|NVIDIA_|ZOETROPE_)/

/** What an operator may tell the Worker; wrangler.toml explains each. */
const workerVariables =
  /^(?:REPLICATE_API_TOKEN|DEVELOPMENT_KEY|OPERATOR_TOKEN|SIGNING_SECRET|SIGNING_SECRET_PREVIOUS|PUBLIC_URL|CORS_ORIGINS|DEFAULT_MODEL|MODERATION|PROMPT_EXPANSION|STARTING_CREDIT_USD|RETENTION_DAYS|MAX_OPEN_JOBS|MAX_OPEN_JOBS_PER_SUBJECT|JOBS_BURST|JOBS_PER_SECOND)$/

function inherited(names: RegExp): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => names.test(name)) as [string, string][])
}

/** The Worker knows the released models; those of another folder it must be told. */
async function foreignCards(url: string, token: string): Promise<Record<string, string>> {
  const response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${token}` } })
  const { results } = (await response.json()) as { results: { card: ModelCard }[] }
  const cards = results.map(({ card }) => card)
  const [first] = cards
  return first === undefined ? {} : { MODEL_CARDS: JSON.stringify(cards), DEFAULT_MODEL: first.id }
}

async function answering(url: string): Promise<void> {
  const until = Date.now() + patience
  while (Date.now() < until) {
    const response = await fetch(url).catch(() => undefined)
    await response?.body?.cancel()
    if (response !== undefined && response.status < 500) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`start: the Worker does not answer at ${url} after ${patience / 1000} seconds`)
}

/** Rejects when a child ends that should not. */
async function neverEnds(child: Child): Promise<never> {
  const code = await child.ended
  throw new Error([...child.lastLines(), `start: ${child.name} has ended with code ${code}`].join('\n'))
}

const anyEnd = (children: readonly Child[]): Promise<never> => Promise.race(children.map(neverEnds))

/** The Worker first, so that it asks nothing of a node that is gone. */
async function endAll(children: readonly Child[], insisted: Promise<void>): Promise<void> {
  insisted.then(() => {
    for (const child of children) child.stop(true)
  })
  for (const child of [...children].reverse()) {
    child.stop()
    await child.ended
  }
}

interface Interruption {
  readonly signal: AbortSignal
  /** Rejects at the first Ctrl-C, SIGTERM or SIGHUP, or when npm, which started us, is gone. */
  readonly asked: Promise<never>
  /** Resolves at a second one. */
  readonly insisted: Promise<void>
  readonly release: () => void
}

// An outer launcher passes on what the terminal has sent already; that is no second wish.
const secondAfter = 1000

function interruption(): Interruption {
  const controller = new AbortController()
  let askedAt = 0
  let insist = () => {}
  const insisted = new Promise<void>((resolve) => {
    insist = resolve
  })
  const asked = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason))
  })
  // Whoever races against it hears of it; nobody else needs to.
  asked.catch(() => {})
  const onSignal = () => {
    if (controller.signal.aborted && Date.now() - askedAt > secondAfter) insist()
    askedAt ||= Date.now()
    controller.abort(new GenerationError('aborted', 'interrupted'))
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, onSignal)
  const parent = process.ppid
  // npm passes no signal on when it is ended by one.
  const watch = setInterval(() => process.ppid !== parent && onSignal(), 1000)
  if (process.env.npm_lifecycle_event === undefined) clearInterval(watch)
  const release = () => {
    clearInterval(watch)
    for (const signal of signals) process.off(signal, onSignal)
  }
  return { signal: controller.signal, asked, insisted, release }
}
