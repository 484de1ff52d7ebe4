/**
 * The Worker's entry: the app, the minute's sweep, and the Durable Objects' classes.
 */

import { app } from './app.ts'
import type { Env } from './env.ts'
import { accountOf, directoryOf } from './objects/contract.ts'

export { Account } from './objects/account.ts'
export { Directory } from './objects/directory.ts'
export { Generation } from './objects/generation.ts'

/** Asks every tenant with open jobs to look after them; works when no alarm does. */
async function sweep(env: Env): Promise<void> {
  const tenants = await directoryOf(env).tenants()
  const now = Date.now()
  const outcomes = await Promise.allSettled(tenants.map((tenant) => accountOf(env, tenant).sweep(now)))
  for (const outcome of outcomes)
    if (outcome.status === 'rejected') console.error('sweep: a tenant failed', outcome.reason)
}

// Cloudflare's platform wants the handlers as the default export.
export default {
  fetch: (request, env, execution) => app.fetch(request, env, execution),
  scheduled: (_, env) => sweep(env),
} satisfies ExportedHandler<Env>
