/**
 * What a receipt says of this machine: the model on it, the runtime, the kind of processor.
 */

import type { Maker } from '../../shared/receipt.ts'
import type { Backend } from '../pipeline/backend.ts'
import type { KnownModel } from './known-model.ts'
import { runtimeVersion, zoetropeVersion } from './versions.ts'

export async function makerOf(
  { card, weights, quantization, schedule, rows }: KnownModel,
  backend: Backend,
): Promise<Maker> {
  const [runtime, provider] = backend.name.split('/') as [string, string]
  return {
    ...{ card, weights, quantization, schedule, rows },
    runtime: `${runtime}/${await runtimeVersion(runtime)}`,
    execution_provider: provider,
    zoetrope_version: await zoetropeVersion(),
    deterministic_class: `${backend.name}/${process.arch}`,
  }
}
