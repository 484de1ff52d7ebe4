/**
 * Latents that come in: held to their envelope, to the model's family, and to whose they are.
 */

import type { CatalogModel } from '../shared/catalog.ts'
import { checkLatents, verifyEnvelope } from '../shared/envelope.ts'
import { GenerationError } from '../shared/errors.ts'
import type { CheckedRequest } from '../shared/request.ts'
import type { Context } from './context.ts'
import { accountOf } from './objects/contract.ts'
import { servicesOf } from './services.ts'

const mismatch = (message: string): GenerationError =>
  new GenerationError('latent_mismatch', message, { pointer: '/envelope' })

/**
 * Checks the latents a request starts from. An envelope without a signature comes from a device, and the check of its
 * bytes is all there is to believe.
 * @throws GenerationError latent_mismatch.
 */
export async function initialLatents(context: Context, request: CheckedRequest, model: CatalogModel): Promise<void> {
  const { envelope, init_latent: id } = request
  if (envelope === undefined || id === undefined) return
  const { tenant } = context.get('principal')
  if (envelope.family !== model.family)
    throw mismatch(`family: got ${envelope.family}, ${model.id} takes ${model.family}`)
  if (Date.parse(envelope.expires_at) < Date.now()) throw mismatch(`expires_at: was ${envelope.expires_at}`)
  if (envelope.sig !== undefined) {
    const { envelopes } = await servicesOf(context.env).secrets()
    if (!(await verifyEnvelope(envelope, envelopes.publicKeys))) throw mismatch('sig: is none of ours')
    if (envelope.tenant !== tenant) throw mismatch('tenant: the envelope is not yours')
  }
  const row = await accountOf(context.env, tenant).asset(id)
  const object = row === null ? null : await context.env.BUCKET.get(`t/${tenant}/${row.sha256}`)
  if (object === null) throw mismatch('init_latent: its bytes are not there; upload them again')
  await checkLatents(envelope, new Uint8Array(await object.arrayBuffer()))
}
