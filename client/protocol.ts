/**
 * Messages between a page and the engine's thread. Data only.
 */

import type { ErrorCode } from '../shared/errors.ts'
import type { EngineEvent, EngineRequest } from './engine.ts'
import type { EngineOptions } from './house.ts'

export type Call = { readonly id: number } & (
  | { readonly kind: 'generate'; readonly request: EngineRequest }
  | { readonly kind: 'prefetch'; readonly model: string }
  | { readonly kind: 'rehearse'; readonly model: string }
  | { readonly kind: 'models' }
  | { readonly kind: 'remove'; readonly model: string }
)

export type FromPage =
  | { readonly kind: 'open'; readonly options: EngineOptions }
  | { readonly kind: 'abort'; readonly id: number }
  | Call

export type Answer = { readonly id: number } & (
  | { readonly kind: 'event'; readonly event: EngineEvent }
  | { readonly kind: 'alive' }
  | { readonly kind: 'received'; readonly received: number; readonly total: number }
  | { readonly kind: 'result'; readonly value: unknown }
  | { readonly kind: 'failure'; readonly code: ErrorCode; readonly message: string }
)
