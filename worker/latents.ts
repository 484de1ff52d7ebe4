/**
 * Latents that come in and go out: held to their envelope and to whose they are; signed where they are ours to vouch for.
 *
 * Whether they fit the request was settled when it was resolved (shared/handoff.ts).
 */

import * as v from 'valibot'
import { checkLatents, type LatentEnvelope, signEnvelope, verifyEnvelope } from '../shared/envelope.ts'
import { GenerationError } from '../shared/errors.ts'
import { type CheckedRequest, latentEnvelopeSchema } from '../shared/request.ts'
import type { Context } from './context.ts'
import type { Env } from './env.ts'
import { accountOf, viewerOf } from './objects/contract.ts'
import { servicesOf } from './services.ts'

const mismatch = (message: string): GenerationError =>
  new GenerationError('latent_mismatch', message, { pointer: '/envelope' })

/**
 * Checks the latents a request starts from. An envelope without a signature comes from a device, and the check of its
 * bytes is all there is to believe.
 * @throws GenerationError latent_mismatch.
 */
export async function initialLatents(context: Context, request: CheckedRequest): Promise<void> {
  const { envelope, init_latent: id } = request
  if (envelope === undefined || id === undefined) return
  const viewer = viewerOf(context.get('principal'))
  const { tenant } = viewer
  if (Date.parse(envelope.expires_at) < Date.now()) throw mismatch(`expires_at: was ${envelope.expires_at}`)
  if (envelope.sig !== undefined) {
    const { envelopes } = await servicesOf(context.env).secrets()
    if (!(await verifyEnvelope(envelope, envelopes.publicKeys))) throw mismatch('sig: is none of ours')
    if (envelope.tenant !== tenant) throw mismatch('tenant: the envelope is not yours')
  }
  const row = await accountOf(context.env, tenant).asset(viewer, id)
  const object = row === null ? null : await context.env.BUCKET.get(`t/${tenant}/${row.sha256}`)
  if (object === null) throw mismatch('init_latent: its bytes are not there; upload them again')
  await checkLatents(envelope, new Uint8Array(await object.arrayBuffer()))
}

/** The envelope of an output of our own node as the next executor can trust it; undefined where it has none. */
export async function countersigned(
  env: Env,
  told: unknown,
  { tenant, expiresAt }: { readonly tenant: string; readonly expiresAt: number },
): Promise<LatentEnvelope | undefined> {
  const envelope = v.safeParse(latentEnvelopeSchema, told)
  if (!envelope.success) return undefined
  const { kid, privateKey } = (await servicesOf(env).secrets()).envelopes
  // They last as long as the result does, not as the node keeps its files.
  const expires_at = new Date(expiresAt).toISOString()
  return signEnvelope({ ...envelope.output, tenant, expires_at }, kid, privateKey)
}
