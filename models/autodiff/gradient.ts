/**
 * Reverse-mode differentiation of a graph: one walk against the topological order, giving a graph of the same kind.
 *
 * Composites with a rule of their own stay whole; the others are replaced by their (remembered) expansion, so a
 * lowering that expands the same composites shares every intermediate with the gradient.
 */

import { expansion, isComposite } from '../graph/composites.ts'
import { type Composite, type Primitive, topologicalOrder, type Value, type ValueOf } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type Cotangents, type GradientRules, gradientRules } from './vjp.ts'

/**
 * The gradient of a scalar with respect to some values, in their order; a value the loss does not reach has zeros.
 * @throws RangeError when `loss` has more than one element.
 */
export function gradient(loss: Value, variables: readonly Value[], rules: GradientRules = gradientRules): Value[] {
  if (loss.shape.some((size) => size !== 1)) {
    throw new RangeError(`gradient: the loss has shape [${loss.shape}], allowed is a scalar; sum or average it first`)
  }
  return vjp([loss], [op.broadcast(op.constant(1), loss.shape)], variables, rules)
}

/** Pulls cotangents of several outputs back to `variables`. */
export function vjp(
  outputs: readonly Value[],
  seeds: readonly Value[],
  variables: readonly Value[],
  rules: GradientRules = gradientRules,
): Value[] {
  /** The value as the walk sees it: composites without a rule are written out. */
  const differentiable = (node: Value): Value => {
    let current = node
    while (isComposite(current) && rules[current.op] === undefined) current = expansion(current)
    return current
  }
  const roots = outputs.map(differentiable)
  const order = topologicalOrder(roots, (node) => node.inputs.map(differentiable))
  const wanted = reaching(order, new Set(variables.map(differentiable)), differentiable)
  const cotangents = new Map<Value, Value>()
  const accumulate = (node: Value, cotangent: Value) => {
    const known = cotangents.get(node)
    cotangents.set(node, known === undefined ? cotangent : op.add(known, cotangent))
  }
  roots.forEach((root, index) => {
    accumulate(root, op.at(seeds, index))
  })
  for (const node of order.reverse()) {
    const cotangent = cotangents.get(node)
    if (cotangent === undefined || !wanted.has(node)) continue
    ruleOf(node, rules)(node, cotangent).forEach((part, index) => {
      const source = differentiable(op.at(node.inputs, index))
      if (part !== null && wanted.has(source)) accumulate(source, part)
    })
  }
  return variables.map((variable) => cotangents.get(differentiable(variable)) ?? zeros(variable))
}

/** The part of the graph that depends on a variable: nothing else needs a cotangent. */
function reaching(
  order: readonly Value[],
  variables: ReadonlySet<Value>,
  differentiable: (node: Value) => Value,
): ReadonlySet<Value> {
  const reached = new Set<Value>()
  for (const node of order) {
    if (variables.has(node) || node.inputs.some((input) => reached.has(differentiable(input)))) reached.add(node)
  }
  return reached
}

function ruleOf(node: Value, rules: GradientRules): (node: Value, cotangent: Value) => Cotangents {
  // Sound because the table is keyed by the op whose value its rule takes.
  return rules[node.op] as (node: ValueOf<Primitive | Composite>, cotangent: Value) => Cotangents
}

const zeros = (variable: Value): Value => op.broadcast(op.constant(0), variable.shape)
