/**
 * A node whose predictions do what a test tells them, step by step, with a clock of its own: no model, no waiting.
 */

import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodeBackend } from '../models/node/backend.ts'
import type { OutputMetadata, Prediction } from '../models/node/serve/prediction.ts'
import type { Execute, Report } from '../models/node/serve/predictions.ts'
import { type NodeOptions, type RunningNode, startNode } from '../models/node/serve/serve.ts'
import { type ManualClock, manualClock } from './manual-clock.ts'
import { type ToyFolders, toyFolder } from './toy-folder.ts'

/** A run in progress. */
export interface StagedRun {
  readonly prediction: Prediction
  readonly signal: AbortSignal
  readonly report: Report
  readonly succeed: () => void
  readonly fail: (error: unknown) => void
}

export interface Stage {
  readonly execute: Execute
  /** The run of a prediction, as soon as it has begun. */
  readonly run: (id: string) => Promise<StagedRun>
  /** Every run that has begun, in order. */
  readonly runs: readonly StagedRun[]
}

export function stage(): Stage {
  const runs: StagedRun[] = []
  const waiting = new Map<string, (run: StagedRun) => void>()
  const execute: Execute = (prediction, _slot, signal, report) =>
    new Promise((resolve, reject) => {
      const run = { prediction, signal, report, succeed: () => resolve(result(prediction)), fail: reject }
      // As the pipeline does between two steps.
      signal.addEventListener('abort', () => reject(signal.reason))
      runs.push(run)
      waiting.get(prediction.order.id)?.(run)
    })
  const run = (id: string) =>
    new Promise<StagedRun>((resolve) => {
      const known = runs.find(({ prediction }) => prediction.order.id === id)
      if (known !== undefined) resolve(known)
      else waiting.set(id, resolve)
    })
  return { execute, run, runs }
}

/** One output, whose address leads nowhere. */
function result({ order }: Prediction): OutputMetadata {
  const url = `${order.origin}/v1/files/${order.id}/download`
  return { outputs: [{ url }], receipt: {} } as unknown as OutputMetadata
}

export interface StagedNode {
  readonly node: RunningNode
  readonly stage: Stage
  readonly clock: ManualClock
  /** Calls the node with its token. */
  readonly call: (path: string, init?: RequestInit) => Promise<Response>
  readonly post: (path: string, body: unknown, headers?: Record<string, string>) => Promise<Response>
  readonly put: (id: string, body: unknown, headers?: Record<string, string>) => Promise<Response>
}

export const stagedToken = 'a-token-for-tests'

/** Only its card is read, so all nodes of a file share it. */
let toy: Promise<ToyFolders> | undefined

/** A node on a free port with one toy model and a stage instead of an engine. */
export async function stagedNode(options: Partial<NodeOptions> = {}): Promise<StagedNode> {
  const [clock, acts] = [manualClock(), stage()]
  toy ??= mkdtemp(join(tmpdir(), 'zoetrope-stage-')).then((place) => toyFolder(place))
  const folders = await toy
  const node = await startNode({
    backend: nodeBackend(),
    token: stagedToken,
    folders,
    clock,
    execute: acts.execute,
    complain: () => {},
    ...options,
  })
  const call = (path: string, init: RequestInit = {}) =>
    fetch(`${node.url}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${stagedToken}`, 'content-type': 'application/json', ...init.headers },
    })
  return {
    node,
    stage: acts,
    clock,
    call,
    post: (path, body, headers = {}) => call(path, { method: 'POST', body: JSON.stringify(body), headers }),
    put: (id, body, headers = {}) =>
      call(`/v1/predictions/${id}`, { method: 'PUT', body: JSON.stringify(body), headers }),
  }
}
