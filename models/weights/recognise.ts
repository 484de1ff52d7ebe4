/**
 * What a checkpoint is: which networks its tensors belong to, by names and shapes alone, and what they lack.
 *
 * A part is believed only when every parameter of its network is there in the shape that its own configuration implies,
 * so a file that lies about a shape is caught before a session is made. Reads headers, never data; scalars that a
 * config needs are passed in.
 */

import type { Graph, Shape, Value } from '../graph/graph.ts'
import { topologicalOrder } from '../graph/graph.ts'
import { type PartConfigs, partGraph, parts, type Tensors } from './parts.ts'
import { networkNames, type PartKind, partKinds } from './rename.ts'
import type { SafetensorsHeader, TensorEntry } from './safetensors.ts'

/** A tensor in one of several files. */
export interface LocatedTensor {
  readonly location: string
  readonly entry: TensorEntry
}

export interface FoundPart<K extends PartKind = PartKind> {
  readonly kind: K
  readonly config: PartConfigs[K]
  readonly graph: Graph
  /** The network's parameters by our names, those that are there in the right shape. */
  readonly tensors: ReadonlyMap<string, LocatedTensor>
  readonly missing: readonly string[]
  /** Sentences about tensors whose shape does not fit. */
  readonly misshapen: readonly string[]
}

export interface Checkpoint {
  /** Headers of the files that belong together, by location. */
  readonly headers: Readonly<Record<string, SafetensorsHeader>>
  /** config.json beside the files, if there is one. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Values of tensors of one element, by stored name. */
  readonly scalars?: ReadonlyMap<string, number>
}

export interface Recognition {
  /** The parts, complete or not; none when nothing is known. */
  readonly parts: readonly FoundPart[]
  /** What looks like a part but cannot be one, in sentences. */
  readonly doubts: readonly string[]
}

/** What the tensors of a checkpoint are. */
export function recognise(checkpoint: Checkpoint): Recognition {
  const located = new Map<string, LocatedTensor>()
  for (const [location, { entries }] of Object.entries(checkpoint.headers))
    for (const entry of entries.values()) located.set(entry.name, { location, entry })
  const results = partKinds.map((kind) => found(kind, checkpoint, located))
  return {
    parts: results.filter((each) => typeof each === 'object'),
    doubts: results.filter((each) => typeof each === 'string'),
  }
}

function found<K extends PartKind>(
  kind: K,
  checkpoint: Checkpoint,
  located: ReadonlyMap<string, LocatedTensor>,
): FoundPart<K> | string | undefined {
  const names = networkNames(kind, located.keys())
  if (![...names.keys()].some((name) => parts[kind].signature.test(name))) return undefined
  const tensorOf = (name: string) => located.get(names.get(name) ?? '')
  const read = described(kind, tensorsOf(checkpoint, names, tensorOf))
  return typeof read === 'string'
    ? `${parts[kind].title}: ${read}`
    : { kind, ...read, ...compared(read.graph, tensorOf) }
}

/** Configuration and graph, or why there can be none: a tensor is missing, or its sizes make no network. */
function described<K extends PartKind>(kind: K, tensors: Tensors): Pick<FoundPart<K>, 'config' | 'graph'> | string {
  try {
    const config = parts[kind].config(tensors)
    const odd = implausible(config)
    return odd === undefined ? { config, graph: partGraph(kind, config) } : `its ${odd}, allowed are whole numbers`
  } catch (error) {
    // Shape rules and missing tensors fail so; anything else is a fault of ours.
    if (error instanceof RangeError) return error.message
    throw error
  }
}

function compared(graph: Graph, tensorOf: (name: string) => LocatedTensor | undefined) {
  const wanted = graph.parameters.map(({ attributes, shape }) => ({ name: attributes.name, shape }))
  const here = wanted.flatMap((each) => {
    const tensor = tensorOf(each.name)
    return tensor === undefined ? [] : [{ ...each, tensor }]
  })
  const fits = ({ shape, tensor }: (typeof here)[number]) => tensor.entry.shape.join() === shape.join()
  return {
    tensors: new Map(here.filter(fits).map(({ name, tensor }) => [name, tensor])),
    missing: wanted.map(({ name }) => name).filter((name) => tensorOf(name) === undefined),
    misshapen: here.filter((each) => !fits(each)).map(misfit),
  }
}

const misfit = ({ name, shape, tensor }: { name: string; shape: Shape; tensor: LocatedTensor }): string =>
  `${tensor.entry.name} is [${tensor.entry.shape}], ${name} takes [${shape}]`

/** The first number of a configuration that no network has, with its place. */
function implausible(config: unknown, place = 'config'): string | undefined {
  if (typeof config === 'number' && Number.isInteger(config) && config >= 0 && config <= 2 ** 24) return undefined
  if (typeof config === 'boolean' || typeof config === 'string') return undefined
  if (typeof config !== 'object' || config === null) return `${place} is ${config}`
  return Object.entries(config)
    .map(([key, value]) => implausible(value, key))
    .find((each) => each !== undefined)
}

function tensorsOf(
  { headers, config, scalars }: Checkpoint,
  names: ReadonlyMap<string, string>,
  tensorOf: (name: string) => LocatedTensor | undefined,
): Tensors {
  const configs = [config, ...Object.values(headers).map(({ metadata }) => metadataConfig(metadata))]
  return {
    names: [...names.keys()],
    shape: (name) => {
      const tensor = tensorOf(name)
      if (tensor === undefined) throw new RangeError(`there is no ${name}`)
      const { shape } = tensor.entry
      // An empty tensor can claim any other size without a byte to show for it.
      if (shape.includes(0)) throw new RangeError(`${name} is empty: [${shape}]`)
      return shape
    },
    number: (key) => {
      const value = configs.map((each) => numberIn(each, key)).find((each) => each !== undefined)
      return value ?? scalars?.get(names.get(key) ?? '')
    },
  }
}

/** LTX's single files carry the configs of all their parts as JSON. */
function metadataConfig({ config }: SafetensorsHeader['metadata']): unknown {
  try {
    return config === undefined ? undefined : JSON.parse(config)
  } catch {
    // A config that is no JSON says nothing; shapes do.
    return undefined
  }
}

/** A number under a key of a config or of one of its sections. */
function numberIn(config: unknown, key: string): number | undefined {
  if (typeof config !== 'object' || config === null) return undefined
  const places = [config, ...Object.values(config)].filter((each) => typeof each === 'object' && each !== null)
  const values = places.flatMap((each) => (Object.hasOwn(each, key) ? [(each as Record<string, unknown>)[key]] : []))
  const value = values.find((each) => typeof each === 'number' || typeof each === 'boolean')
  return value === undefined ? undefined : Number(value)
}

/** Parameters that serve as weights of linear maps and nothing else: those that may be kept in blocks. */
export function linearWeights({ outputs }: Graph): ReadonlySet<string> {
  const order = topologicalOrder([...outputs.values()])
  const users = new Map<Value, Value[]>()
  for (const node of order) for (const each of node.inputs) users.set(each, [...(users.get(each) ?? []), node])
  const onlyRight = (node: Value) =>
    node.op === 'transpose' && (users.get(node) ?? []).every((use) => use.op === 'matmul' && use.inputs[1] === node)
  return new Set(
    order.flatMap((node) =>
      node.op === 'parameter' && (users.get(node) ?? []).every(onlyRight) ? [node.attributes.name] : [],
    ),
  )
}
