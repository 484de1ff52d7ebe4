/**
 * `zoetrope keys create | list | revoke`: the operator's API keys, over the /operator routes of a running edge.
 *
 * Knows the wire and nothing behind it. The operator's secret comes from the environment, where no list of processes
 * shows it; a new key is printed once and kept nowhere.
 */

import * as v from 'valibot'
import { GenerationError } from '../../../shared/errors.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'

export const urlVariable = 'ZOETROPE_URL'
export const operatorVariable = 'OPERATOR_TOKEN'
const defaultUrl = 'http://127.0.0.1:8787'
const patienceMs = 30_000

const createdSchema = v.object({ id: v.string(), tenant: v.string(), scopes: v.array(v.string()), key: v.string() })
const listSchema = v.object({
  data: v.array(
    v.object({
      id: v.string(),
      tenant: v.string(),
      name: v.string(),
      scopes: v.array(v.string()),
      created_at: v.number(),
      revoked: v.boolean(),
    }),
  ),
})
const problemSchema = v.object({ code: v.string(), detail: v.string() })

export const keysCommand: Command = {
  summary: 'Make, list and revoke API keys of a running edge.',
  usage: 'create | list | revoke ID [options]',
  options: {
    url: { kind: 'text', value: 'URL', help: `where the edge is ($${urlVariable}, else ${defaultUrl})` },
    'operator-token': { kind: 'text', value: 'TOKEN', help: `the operator's secret; better in $${operatorVariable}` },
    tenant: { kind: 'text', value: 'NAME', help: 'create: whose key it is; list: only theirs' },
    name: { kind: 'text', value: 'TEXT', help: 'create: what the key is for' },
    scopes: { kind: 'text', value: 'LIST', help: 'create: with commas (video:create,video:read)' },
    test: { kind: 'flag', help: 'create: a key that says zoe_test_' },
  },
  run: keys,
}

async function keys(given: Arguments, surroundings: Surroundings): Promise<void> {
  const [action, ...rest] = given.positionals
  const allowed = action === 'revoke' ? 1 : 0
  if (action === undefined || !Object.hasOwn(actions, action)) {
    throw new GenerationError('invalid_parameter', `keys: got ${action ?? 'nothing'}, allowed are create, list, revoke`)
  }
  if (rest.length !== allowed) {
    throw new GenerationError(
      'invalid_parameter',
      `keys ${action}: got ${rest.length} words after it, allowed ${allowed}`,
    )
  }
  await (actions[action] as Action)(given, callerOf(given, surroundings.signal), surroundings)
}

type Call = (method: string, path: string, body?: object) => Promise<unknown>
type Action = (given: Arguments, call: Call, surroundings: Surroundings) => Promise<void>

const actions: Readonly<Record<string, Action>> = {
  create: async (given, call, { say, emit }) => {
    const tenant = given.text('tenant')
    if (tenant === undefined) throw new GenerationError('invalid_parameter', 'keys create: --tenant is missing')
    const [name, scopes] = [given.text('name'), given.text('scopes')]
    const answer = await call('POST', '/operator/keys', {
      tenant,
      ...(name === undefined ? {} : { name }),
      ...(scopes === undefined ? {} : { scopes: scopes.split(',').map((scope) => scope.trim()) }),
      kind: given.flag('test') ? 'test' : 'live',
    })
    const key = understood(createdSchema, answer)
    say(`${key.key}  (shown once; id ${key.id}, tenant ${key.tenant}, ${key.scopes.join(' ')})`)
    emit(key)
  },
  list: async (given, call, { say, emit }) => {
    const { data } = understood(listSchema, await call('GET', '/operator/keys'))
    const tenant = given.text('tenant')
    const shown = data.filter((key) => tenant === undefined || key.tenant === tenant)
    for (const { id, tenant: of, name, scopes, created_at: at, revoked } of shown) {
      const state = revoked ? 'revoked' : 'good'
      say([id, of, state, new Date(at).toISOString(), scopes.join(','), name].join('  '))
    }
    if (shown.length === 0) say('no keys')
    emit({ data: shown })
  },
  revoke: async (given, call, { say, emit }) => {
    const id = given.positionals[1] as string
    await call('DELETE', `/operator/keys/${encodeURIComponent(id)}`)
    say(`${id} is revoked; it is refused everywhere within five seconds`)
    emit({ id, revoked: true })
  },
}

function understood<Schema extends v.GenericSchema>(schema: Schema, answer: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, answer)
  if (result.success) return result.output
  throw new GenerationError('upstream_error', 'keys: the address answers, but not as an edge does; check --url')
}

/** Calls the edge as its operator. */
function callerOf(given: Arguments, signal: AbortSignal): Call {
  const url = (given.text('url') ?? process.env[urlVariable] ?? defaultUrl).replace(/\/$/, '')
  const token = given.text('operator-token') ?? process.env[operatorVariable]
  if (token === undefined || token === '') {
    throw new GenerationError(
      'invalid_parameter',
      `keys: the operator's secret is missing; set ${operatorVariable} as the edge has it`,
    )
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new GenerationError('invalid_parameter', `--url: got ${url}, allowed is an http or https address`)
  }
  return async (method, path, body) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
    }).catch((error: unknown) => {
      const why = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)
      throw new GenerationError(
        'upstream_error',
        `${url}: does not answer (${why}); start it, or name another by --url`,
      )
    })
    const text = await response.text()
    if (response.ok) return text === '' ? undefined : parsed(text)
    throw refusal(response.status, parsed(text), method === 'DELETE')
  }
}

function refusal(status: number, answer: unknown, naming: boolean): GenerationError {
  if (status === 401 || status === 403) {
    return new GenerationError(
      'unauthenticated',
      `keys: the edge refuses the operator's secret; check ${operatorVariable}`,
    )
  }
  if (status === 404) {
    const cause = naming ? 'no good key has this id, or' : ''
    return new GenerationError(
      'not_found',
      `keys: ${cause} the edge has no OPERATOR_TOKEN of its own`.replace('  ', ' '),
    )
  }
  const problem = v.safeParse(problemSchema, answer)
  if (status === 422 && problem.success) return new GenerationError('invalid_parameter', problem.output.detail)
  const detail = problem.success ? `${problem.output.code}: ${problem.output.detail}` : `status ${status}`
  return new GenerationError('upstream_error', `keys: the edge answers ${detail}`)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
