/**
 * `zoetrope serve`: the GPU node, until Ctrl-C.
 */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { GenerationError } from '../../../shared/errors.ts'
import { type NodeBackendOptions, nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { type Folders, releasedFolders } from '../serve/catalog.ts'
import { type NodeOptions, startNode } from '../serve/serve.ts'

export const defaultNodePort = 8788

/** Where a token is looked for before one is made up; an argument can be read by everyone on the machine. */
export const tokenVariable = 'ZOETROPE_NODE_TOKEN'

const providers = ['cpu', 'cuda', 'webgpu'] as const

export const serveCommand: Command = {
  summary: 'Serve the models over HTTP, as Replicate does.',
  usage: '[options]',
  options: {
    port: { kind: 'number', value: 'N', help: `port (${defaultNodePort}); 0 takes a free one` },
    host: { kind: 'text', value: 'ADDRESS', help: 'address to listen on (127.0.0.1)' },
    slots: { kind: 'number', value: 'N', help: 'predictions that run at once (1)' },
    queue: { kind: 'number', value: 'N', help: 'predictions that may wait (16)' },
    token: { kind: 'text', value: 'TOKEN', help: `bearer token; else ${tokenVariable}, else made up and shown` },
    models: { kind: 'text', value: 'ID,…', help: 'which models (all that are released or imported)' },
    folder: { kind: 'text', value: 'DIR', help: 'where cards/, weights/ and imported/ are (those of this package)' },
    provider: { kind: 'text', value: 'NAME', help: `execution provider: ${providers.join(', ')} (cpu)` },
    threads: { kind: 'number', value: 'N', help: 'threads inside one operator (the cores divided by the slots)' },
    'allow-hosts': { kind: 'text', value: 'NAME,…', help: 'names besides loopback that requests may call it by' },
    webhooks: { kind: 'text', value: 'PREFIX,…', help: 'what webhook addresses may begin with (none)' },
  },
  run: serve,
}

async function serve(given: Arguments, { signal, say, emit }: Surroundings): Promise<void> {
  const token = given.text('token') ?? process.env[tokenVariable] ?? randomBytes(24).toString('base64url')
  const shown = given.text('token') === undefined && process.env[tokenVariable] === undefined
  const node = await startNode({
    ...optionsOf(given),
    token,
    // Both also under --json: what became of a prediction is told to whoever runs the node, and what nobody foresaw too.
    journal: (line) => process.stderr.write(`${line}\n`),
    complain: (error) => process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`),
  })
  const models = node.catalog.models.map(({ card }) => card.id)
  say(`${node.url}  (${models.join(', ') || 'no model is released yet, so every prediction is refused'})`)
  if (shown) say(`token ${token}`)
  emit({ url: node.url, models, ...(shown ? { token } : {}) })
  if (!signal.aborted) await once(signal, 'abort')
  await node.close()
}

function optionsOf(given: Arguments): Omit<NodeOptions, 'token'> {
  if (given.positionals.length > 0) {
    throw new GenerationError('invalid_parameter', `serve: got ${given.positionals[0]}, allowed are options only`)
  }
  const folder = given.text('folder')
  const models = listOf(given.text('models'))
  const folders = folder === undefined ? releasedFolders() : foldersIn(folder)
  return {
    backend: nodeBackend(backendOptions(given)),
    host: given.text('host') ?? '127.0.0.1',
    port: whole(given, 'port', 0, 65535) ?? defaultNodePort,
    slots: whole(given, 'slots', 1, 64) ?? 1,
    queue: whole(given, 'queue', 0, 10_000) ?? 16,
    hosts: listOf(given.text('allow-hosts')) ?? [],
    webhookPrefixes: prefixesOf(given),
    folders,
    ...(models === undefined ? {} : { models }),
  }
}

const foldersIn = (folder: string): Folders => ({
  cards: join(folder, 'cards/'),
  weights: join(folder, 'weights/'),
  imported: join(folder, 'imported/'),
})

function backendOptions(given: Arguments): NodeBackendOptions {
  const name = given.text('provider') ?? 'cpu'
  const provider = providers.find((each) => each === name)
  if (provider === undefined) {
    throw new GenerationError('invalid_parameter', `--provider: got ${name}, allowed are ${providers.join(', ')}`)
  }
  // Slots share the cores: each taking all of them would only make them wait for each other.
  const share = Math.max(1, Math.floor(availableParallelism() / (whole(given, 'slots', 1, 64) ?? 1)))
  return { provider, threads: whole(given, 'threads', 1, 1024) ?? share }
}

function prefixesOf(given: Arguments): readonly string[] {
  const prefixes = listOf(given.text('webhooks')) ?? []
  for (const prefix of prefixes) {
    if (!/^https?:\/\//.test(prefix) || !URL.canParse(prefix)) {
      throw new GenerationError(
        'invalid_parameter',
        `--webhooks: got ${prefix}, allowed are beginnings of addresses such as https://example.org/hooks`,
      )
    }
  }
  return prefixes
}

const listOf = (text: string | undefined): readonly string[] | undefined =>
  text
    ?.split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')

function whole(given: Arguments, name: string, low: number, high: number): number | undefined {
  const value = given.number(name)
  if (value === undefined || (Number.isInteger(value) && value >= low && value <= high)) return value
  throw new GenerationError(
    'invalid_parameter',
    `--${name}: got ${value}, allowed is a whole number from ${low} to ${high}`,
  )
}
