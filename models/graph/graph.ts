/**
 * Values and the trace that names their parameters.
 *
 * A value is one node of an acyclic graph: an op, its inputs, its attributes, a static shape and a dtype. Values are
 * immutable and never serialise themselves; what an op means lives in the rule tables (shapes in ops.ts, gradients in
 * autodiff/vjp.ts, ONNX in onnx/lower.ts, numbers in evaluate.ts).
 *
 * A trace runs a network once and remembers which parameters it asked for. Scope names nest: `scope('layers.3', …)`
 * inside `scope('dit', …)` names a weight `dit.layers.3.weight`. Asking twice for one name gives one value, so two
 * calls of a network inside a trace share their weights.
 */

export type DType = 'float32' | 'float16' | 'int32' | 'bool'
export type Shape = readonly number[]

/** How a fresh parameter is drawn. `normal` has standard deviation `scale`. */
export type Initializer =
  | { readonly kind: 'zeros' }
  | { readonly kind: 'ones' }
  | { readonly kind: 'normal'; readonly scale: number }

export interface ParameterDescription {
  readonly name: string
  readonly shape: Shape
  readonly initializer: Initializer
}

type Nothing = Readonly<Record<never, never>>

/** The attributes of every primitive; the keys are the primitives, and each rule table is total over them. */
export interface PrimitiveAttributes {
  // Leaves
  input: { readonly name: string }
  parameter: ParameterDescription
  constant: { readonly data: readonly number[] | Float32Array | Int32Array }
  // Elementwise, one input
  negate: Nothing
  exp: Nothing
  log: Nothing
  sqrt: Nothing
  reciprocal: Nothing
  sin: Nothing
  cos: Nothing
  tanh: Nothing
  erf: Nothing
  sigmoid: Nothing
  abs: Nothing
  relu: Nothing
  // Elementwise, two inputs with broadcasting
  add: Nothing
  subtract: Nothing
  multiply: Nothing
  divide: Nothing
  maximum: Nothing
  minimum: Nothing
  less: Nothing
  equal: Nothing
  // condition, value where true, value where false
  select: Nothing
  // Reductions keep the reduced axes with size 1
  sum: { readonly axes: readonly number[] }
  max: { readonly axes: readonly number[] }
  // Movement
  reshape: { readonly shape: Shape }
  transpose: { readonly permutation: readonly number[] }
  broadcast: { readonly shape: Shape }
  slice: { readonly starts: readonly number[]; readonly ends: readonly number[] }
  pad: { readonly before: readonly number[]; readonly after: readonly number[] }
  concatenate: { readonly axis: number }
  gather: { readonly axis: number }
  scatterAdd: { readonly axis: number; readonly size: number }
  // Linear
  matmul: Nothing
  convolution: ConvolutionAttributes
  convolutionInput: ConvolutionAttributes & { readonly size: readonly [number, number] }
  convolutionKernel: ConvolutionAttributes & { readonly size: readonly [number, number] }
  // Bookkeeping
  cast: { readonly dtype: DType }
  stopGradient: Nothing
}

/** Two-dimensional convolution: stride and zero padding [top, left, bottom, right]. */
export interface ConvolutionAttributes {
  readonly stride: readonly [number, number]
  readonly padding: readonly [number, number, number, number]
}

/** Which elements of a head make a pair: those half a head apart, or neighbours. */
export type RotaryLayout = 'halves' | 'neighbours'

/** Composites: written in primitives (composites.ts), lowered to a fused operator where a runtime has one. */
export interface CompositeAttributes {
  softmax: Nothing
  layerNorm: { readonly epsilon: number }
  rmsNorm: { readonly epsilon: number }
  /** What a norm multiplies its rows by: 1/√(mean square + ε), of the row less its mean where `centred`. */
  inverseDeviation: { readonly epsilon: number; readonly centred: boolean }
  squaredRelu: Nothing
  /** The nine cells around each cell of a plane, zeros beyond its border. */
  neighbours: Nothing
  gelu: { readonly approximate: 'tanh' | 'none' }
  rope: { readonly heads: number; readonly layout: RotaryLayout }
  /** `scale` multiplies the logits; 1/√d when left out. */
  attention: { readonly heads: number; readonly masked: boolean; readonly scale?: number }
}

export type Primitive = keyof PrimitiveAttributes
export type Composite = keyof CompositeAttributes
export type Op = Primitive | Composite
type Attributes = PrimitiveAttributes & CompositeAttributes

export interface ValueOf<K extends Op> {
  readonly op: K
  readonly inputs: readonly Value[]
  readonly attributes: Attributes[K]
  readonly shape: Shape
  readonly dtype: DType
  /** Where the trace stood when the value was made; errors and node names repeat it. */
  readonly scope: string
}

export type Value = { [K in Op]: ValueOf<K> }[Op]

/** A function of named inputs and parameters: what is lowered, evaluated or differentiated. */
export interface Graph {
  readonly inputs: readonly ValueOf<'input'>[]
  readonly parameters: readonly ValueOf<'parameter'>[]
  readonly outputs: ReadonlyMap<string, Value>
}

interface Trace {
  readonly parameters: Map<string, ValueOf<'parameter'>>
}

let currentTrace: Trace | undefined
let currentScope = ''

/** Makes a value; ops.ts and composites.ts are the only callers, since they know the shape rules. */
export function value<K extends Op>(
  op: K,
  inputs: readonly Value[],
  attributes: Attributes[K],
  shape: Shape,
  dtype: DType = 'float32',
): ValueOf<K> {
  return { op, inputs, attributes, shape, dtype, scope: currentScope }
}

/** Runs `body` with `name` appended to the scope. */
export function scope<T>(name: string, body: () => T): T {
  const outer = currentScope
  currentScope = outer === '' ? name : `${outer}.${name}`
  try {
    return body()
  } finally {
    currentScope = outer
  }
}

/** The scope in which the trace stands, for error messages. */
export function scopeName(): string {
  return currentScope === '' ? 'graph' : currentScope
}

/** A named input of the graph. Float inputs are float32 at the boundary; token ids are int32. */
export function input(name: string, shape: Shape, dtype: DType = 'float32'): ValueOf<'input'> {
  return value('input', [], { name }, shape, dtype)
}

/** A learned tensor, named by the scope. Asking again for the same name returns the same value. */
export function parameter(name: string, shape: Shape, initializer: Initializer): ValueOf<'parameter'> {
  if (currentTrace === undefined) throw new TypeError(`parameter ${name}: no trace is open; call it inside trace()`)
  const full = currentScope === '' ? name : `${currentScope}.${name}`
  const known = currentTrace.parameters.get(full)
  if (known !== undefined) {
    if (sameShape(known.shape, shape)) return known
    throw new RangeError(`${full}: asked for shape [${shape}], but the trace holds [${known.shape}]; rename one`)
  }
  const fresh = value('parameter', [], { name: full, shape, initializer }, shape)
  currentTrace.parameters.set(full, fresh)
  return fresh
}

/** Runs `build` in a fresh trace and returns the graph of the outputs it gives. */
export function trace(build: () => Readonly<Record<string, Value>>): Graph {
  const outer = { trace: currentTrace, scope: currentScope }
  currentTrace = { parameters: new Map() }
  currentScope = ''
  try {
    return graphOf(new Map(Object.entries(build())))
  } finally {
    currentTrace = outer.trace
    currentScope = outer.scope
  }
}

/** Collects the leaves that the outputs reach; inputs and parameters come in the order of first use. */
export function graphOf(outputs: ReadonlyMap<string, Value>): Graph {
  const order = topologicalOrder([...outputs.values()])
  const inputs = order.filter((node) => node.op === 'input')
  const names = inputs.map((node) => node.attributes.name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new RangeError(`graph: two inputs are named ${twice}; make one value and use it twice`)
  return { inputs, parameters: order.filter((node) => node.op === 'parameter'), outputs }
}

/** Every value the roots reach, inputs before users. Iterative, since a training graph is thousands deep. */
export function topologicalOrder(roots: readonly Value[], inputsOf = (node: Value) => node.inputs): Value[] {
  const order: Value[] = []
  const entered = new Set<Value>()
  const stack: { node: Value; next: number }[] = []
  const enter = (node: Value) => {
    if (entered.has(node)) return
    entered.add(node)
    stack.push({ node, next: 0 })
  }
  for (const root of roots) {
    enter(root)
    while (stack.length > 0) {
      const top = stack[stack.length - 1] as { node: Value; next: number }
      const following = inputsOf(top.node)[top.next++]
      if (following !== undefined) enter(following)
      else order.push((stack.pop() as { node: Value }).node)
    }
  }
  return order
}

/** Whether two shapes have the same sizes. */
export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false
  for (let axis = 0; axis < a.length; axis++) if (a[axis] !== b[axis]) return false
  return true
}

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, size) => product * size, 1)
}
