/**
 * Which optimizer serves which parameter in the runs of this project.
 */

import type { ParameterDescription } from '../graph/graph.ts'
import { adamW, isHiddenMatrix, muon, type Optimizer } from '../train/optimizer.ts'

export const optimizerNames = ['muon', 'adamw'] as const
export type OptimizerName = (typeof optimizerNames)[number]

/** `muon` keeps AdamW for tables, ends and modulations, at six tenths of the rate. */
export function optimizersOf(name: OptimizerName): (parameter: ParameterDescription) => Optimizer {
  const plain = adamW({ rate: name === 'muon' ? 0.6 : 1, epsilon: 1e-8, weightDecay: 0 })
  const orthogonal = muon({ momentum: 0.95, weightDecay: 0.01, iterations: 5 })
  return (parameter) => (name === 'muon' && isHiddenMatrix(parameter) ? orthogonal : plain)
}
