/**
 * What a handler is given, and how a route is described: one record from which both the app and its OpenAPI are made.
 */

import type { Context as HonoContext } from 'hono'
import type { GenericSchema } from 'valibot'
import type { Scope } from './auth/browser-token.ts'
import type { Principal } from './auth/principal.ts'
import type { Env } from './env.ts'

export interface Variables {
  readonly requestId: string
  principal: Principal
}

export type Context = HonoContext<{ Bindings: Env; Variables: Variables }>

/** open: no credential; any: any credential; signature: the handler checks its own; a scope: a credential with it. */
export type Access = 'open' | 'any' | 'signature' | Scope | 'operator'

export interface Answer {
  readonly description: string
  readonly schema?: GenericSchema
  /** Where the answer is no JSON. */
  readonly contentType?: string
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With parameters as {name}. */
  readonly path: string
  readonly access: Access
  readonly operationId: string
  readonly summary: string
  readonly body?: GenericSchema
  /** Where the body is no JSON. */
  readonly bodyType?: string
  readonly query?: readonly string[]
  readonly headers?: readonly string[]
  readonly answers: Readonly<Record<number, Answer>>
  readonly handler: (context: Context) => Promise<Response>
}

/** A path parameter that the route is known to have. */
export const parameter = (context: Context, name: string): string => context.req.param(name) ?? ''

/** Where this service is, as its callers see it. */
export const baseUrlOf = (context: Context): string =>
  (context.env.PUBLIC_URL || new URL(context.req.url).origin).replace(/\/$/, '')
