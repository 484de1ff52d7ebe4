/**
 * What the Worker is given: bindings, variables and secrets, and the settings read from them.
 *
 * wrangler.toml explains each name to the operator; this file explains them to the code.
 */

import { GenerationError } from '../shared/errors.ts'

export interface Env {
  readonly GENERATIONS: DurableObjectNamespace
  readonly ACCOUNTS: DurableObjectNamespace
  readonly DIRECTORY: DurableObjectNamespace
  readonly BUCKET: R2Bucket
  /** Schemas of upstream models; never state, locks or money. */
  readonly CATALOG: KVNamespace
  readonly ASSETS?: Fetcher
  readonly RATE_LIMITER?: RateLimit
  /** The GPU node as a service binding; NODE_URL is the way without one. */
  readonly NODE?: Fetcher
  readonly AI?: Ai
  readonly ENVIRONMENT?: string
  readonly DEVELOPMENT_KEY?: string
  readonly SIGNING_SECRET?: string
  readonly SIGNING_SECRET_PREVIOUS?: string
  readonly OPERATOR_TOKEN?: string
  readonly NODE_URL?: string
  readonly NODE_TOKEN?: string
  readonly REPLICATE_API_TOKEN?: string
  readonly PUBLIC_URL?: string
  readonly HOOKS_URL?: string
  readonly DEFAULT_MODEL?: string
  readonly MODEL_CARDS?: string
  readonly POLICY_VERSION?: string
  readonly STARTING_CREDIT_USD?: string
  readonly CORS_ORIGINS?: string
  readonly MODERATION?: string
  readonly PROMPT_EXPANSION?: string
  readonly RETENTION_DAYS?: string
  readonly MAX_OPEN_JOBS?: string
  readonly MAX_OPEN_JOBS_PER_SUBJECT?: string
  readonly JOBS_BURST?: string
  readonly JOBS_PER_SECOND?: string
}

export interface Settings {
  readonly development: boolean
  readonly policyVersion: string
  /** In millionths of a dollar. */
  readonly startingCredit: number
  readonly origins: readonly string[]
  readonly retentionMs: number
  readonly limits: Limits
}

export interface Limits {
  readonly maxOpen: number
  readonly maxOpenPerSubject: number
  readonly burst: number
  readonly perSecond: number
}

/** The settings, with what holds where the operator says nothing. */
export function settingsOf(env: Env): Settings {
  const number = (name: keyof Env, otherwise: number): number => {
    const value = Number(env[name] ?? otherwise)
    if (!Number.isFinite(value) || value < 0) {
      throw new GenerationError('internal', `${name}: got ${String(env[name])}, allowed is a number from 0`)
    }
    return value
  }
  return {
    development: env.ENVIRONMENT === 'development',
    policyVersion: env.POLICY_VERSION ?? '1',
    startingCredit: Math.round(number('STARTING_CREDIT_USD', 0) * 1e6),
    origins: (env.CORS_ORIGINS ?? '').split(',').filter((origin) => origin !== ''),
    retentionMs: number('RETENTION_DAYS', 7) * 86_400_000,
    limits: {
      maxOpen: number('MAX_OPEN_JOBS', 1000),
      maxOpenPerSubject: number('MAX_OPEN_JOBS_PER_SUBJECT', 100),
      burst: number('JOBS_BURST', 20),
      perSecond: number('JOBS_PER_SECOND', 10),
    },
  }
}
