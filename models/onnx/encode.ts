/**
 * ONNX messages to bytes.
 *
 * Takes the plain description that lower.ts gives and knows nothing of values or rules. Field numbers: onnx.proto3
 * of ONNX 1.18 (IR version 10, opset 23).
 */

import type { DType, Shape } from '../graph/graph.ts'
import { type Message, message } from './protobuf.ts'

export type OnnxAttribute =
  | { readonly kind: 'integer'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'integers'; readonly value: readonly number[] }

export interface OnnxNode {
  readonly name: string
  readonly type: string
  /** '' is ai.onnx, 'com.microsoft' ONNX Runtime's own. */
  readonly domain: '' | 'com.microsoft'
  /** An empty name leaves an optional input out. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, OnnxAttribute>>
}

export type OnnxDType = DType | 'int64' | 'uint8'

/** Where an initializer's bytes are: here, or in a file that the runtime is given beside the model. */
export type OnnxBytes =
  | { readonly kind: 'inline'; readonly bytes: Uint8Array }
  | { readonly kind: 'external'; readonly location: string; readonly offset: number; readonly length: number }

export interface OnnxInitializer {
  readonly name: string
  readonly dtype: OnnxDType
  readonly shape: Shape
  readonly data: OnnxBytes
}

export interface OnnxPort {
  readonly name: string
  readonly dtype: OnnxDType
  readonly shape: Shape
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[]
  readonly initializers: readonly OnnxInitializer[]
  readonly inputs: readonly OnnxPort[]
  readonly outputs: readonly OnnxPort[]
}

const dtypeCodes: Readonly<Record<OnnxDType, number>> = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
}
const irVersion = 10
const opsets = { '': 23, 'com.microsoft': 1 } as const

/** ModelProto bytes. External data is referred to, never copied. */
export function encode(model: OnnxModel): Uint8Array {
  const proto = message()
    .integer(1, irVersion)
    .text(2, 'zoetrope')
    .message(7, (graph) => writeGraph(graph, model))
  for (const [domain, version] of Object.entries(opsets))
    proto.message(8, (opset) => opset.text(1, domain).integer(2, version))
  return proto.bytes()
}

function writeGraph(proto: Message, { nodes, initializers, inputs, outputs }: OnnxModel): void {
  for (const each of nodes) proto.message(1, (node) => writeNode(node, each))
  proto.text(2, 'zoetrope')
  for (const each of initializers) proto.message(5, (tensor) => writeTensor(tensor, each))
  for (const port of inputs) proto.message(11, (info) => writeValueInfo(info, port))
  for (const port of outputs) proto.message(12, (info) => writeValueInfo(info, port))
}

function writeNode(proto: Message, { name, type, domain, inputs, outputs, attributes }: OnnxNode): void {
  for (const each of inputs) proto.text(1, each)
  for (const each of outputs) proto.text(2, each)
  proto.text(3, name).text(4, type)
  for (const key in attributes)
    proto.message(5, (attribute) => writeAttribute(attribute.text(1, key), attributes[key] as OnnxAttribute))
  if (domain !== '') proto.text(7, domain)
}

function writeAttribute(proto: Message, attribute: OnnxAttribute): Message {
  switch (attribute.kind) {
    case 'float':
      return proto.float(2, attribute.value).integer(20, 1)
    case 'integer':
      return proto.integer(3, attribute.value).integer(20, 2)
    case 'text':
      return proto.text(4, attribute.value).integer(20, 3)
    case 'integers':
      return proto.integers(8, attribute.value).integer(20, 7)
    default:
      return attribute satisfies never
  }
}

function writeTensor(proto: Message, { name, dtype, shape, data }: OnnxInitializer): void {
  proto.integers(1, shape).integer(2, dtypeCodes[dtype]).text(8, name)
  if (data.kind === 'inline') {
    proto.data(9, data.bytes)
    return
  }
  const { location, offset, length } = data
  for (const [key, value] of Object.entries({ location, offset, length }))
    proto.message(13, (entry) => entry.text(1, key).text(2, String(value)))
  proto.integer(14, 1)
}

function writeValueInfo(proto: Message, { name, dtype, shape }: OnnxPort): void {
  const writeShape = (proto: Message) => {
    for (const size of shape) proto.message(1, (dimension) => dimension.integer(1, size))
  }
  proto
    .text(1, name)
    .message(2, (type) => type.message(1, (tensor) => tensor.integer(1, dtypeCodes[dtype]).message(2, writeShape)))
}
