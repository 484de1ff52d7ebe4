/**
 * Assets: the only way media enters. Announced with length and hash, then streamed, counted, sniffed and hashed.
 */

import * as v from 'valibot'
import { GenerationError } from '../../shared/errors.ts'
import { parseBody } from '../../shared/request.ts'
import { authenticate, requireScope } from '../auth/principal.ts'
import { baseUrlOf, type Context, parameter, type Route } from '../context.ts'
import { createdOf, idempotencyOf, replayHeaders } from '../idempotency-key.ts'
import { isId, newId } from '../ids.ts'
import { readJson } from '../json.ts'
import { pngSize, sniff, sniffLength } from '../media.ts'
import { type AssetRow, accountOf, viewerOf } from '../objects/contract.ts'
import { serveObject } from '../ranges.ts'
import { servicesOf } from '../services.ts'
import { signUrl, urlLifeSeconds, verifyUrl } from '../signed-url.ts'
import { assetAnswerSchema } from './answers.ts'
import { notFound } from './videos.ts'

const mebibyte = 1_048_576
const caps: Readonly<Record<AssetRow['kind'], { readonly bytes: number; readonly types: RegExp }>> = {
  image: { bytes: 10 * mebibyte, types: /^image\/(png|jpeg|webp|gif)$/ },
  video: { bytes: 64 * mebibyte, types: /^video\/(mp4|webm)$/ },
  audio: { bytes: 16 * mebibyte, types: /^audio\/(wav|mpeg)$/ },
  latent: { bytes: 32 * mebibyte, types: /^application\/octet-stream$/ },
}
const maxPixels = 16_000_000

const createSchema = v.strictObject({
  kind: v.picklist(['image', 'video', 'audio', 'latent']),
  content_type: v.pipe(v.string(), v.maxLength(128)),
  bytes: v.pipe(v.number(), v.integer(), v.minValue(1)),
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
})

async function create(context: Context): Promise<Response> {
  const body = await readJson(context.req.raw)
  const asked = parseBody(createSchema, body)
  const cap = caps[asked.kind]
  if (asked.bytes > cap.bytes) {
    throw new GenerationError('payload_too_large', `bytes: got ${asked.bytes}, allowed are ${cap.bytes}`)
  }
  if (!cap.types.test(asked.content_type)) {
    throw new GenerationError(
      'unsupported_media_type',
      `content_type: got ${asked.content_type}, no ${asked.kind} of ours`,
    )
  }
  const { tenant, subject } = context.get('principal')
  const owned = { subject: subject ?? '', created_at: Date.now() }
  const fresh: AssetRow = { id: newId('ast'), ...asked, ...owned, status: 'pending' }
  const idempotency = await idempotencyOf(context, body)
  const answer = await accountOf(context.env, tenant).createAsset({ tenant, subject }, fresh, idempotency)
  const { value, replayed } = createdOf(answer)
  return context.json(await describe(context, tenant, value), 201, replayHeaders(replayed))
}

async function describe(context: Context, tenant: string, row: AssetRow) {
  const { created_at: createdAt, subject: _, ...fields } = row
  const upload = row.status === 'pending' ? await uploadOf(context, tenant, row) : null
  return { object: 'asset', ...fields, created_at: new Date(createdAt).toISOString(), upload }
}

async function uploadOf(context: Context, tenant: string, { id, sha256 }: AssetRow) {
  const [key] = (await servicesOf(context.env).secrets()).urls as [CryptoKey]
  const expires = Math.floor(Date.now() / 1000) + urlLifeSeconds
  const path = `/v1/assets/${id}/content`
  const signature = await signUrl(key, { method: 'PUT', path, expires, tenant, sha256, selection: '' })
  const query = new URLSearchParams({ tenant, sha256, expires: String(expires), signature })
  return {
    method: 'PUT',
    url: `${baseUrlOf(context)}${path}?${query}`,
    expires_at: new Date(expires * 1000).toISOString(),
  }
}

/** The asset and its tenant, for whoever holds a credential or a signed address. */
async function permitted(context: Context, method: 'GET' | 'PUT') {
  const id = parameter(context, 'id')
  if (!isId('ast', id)) throw notFound()
  const { signature, expires, tenant = '', sha256 = '' } = context.req.query()
  if (signature === undefined) {
    const principal = await authenticate(context.req.raw, context.env)
    requireScope(principal, 'video:create')
    const row = await accountOf(context.env, principal.tenant).asset(viewerOf(principal), id)
    if (row === null) throw notFound()
    return { row, tenant: principal.tenant }
  }
  const { urls } = await servicesOf(context.env).secrets()
  const until = /^\d{1,12}$/.test(expires ?? '') ? Number(expires) : 0
  const claims = { method, path: context.req.path, expires: until, tenant, sha256, selection: '' }
  // Before anything is asked: a made-up tenant must not so much as wake an object.
  if (!(await verifyUrl(urls, claims, signature, Date.now()))) throw notFound()
  const row = await accountOf(context.env, tenant).asset({ tenant, subject: null }, id)
  if (row?.sha256 !== sha256) throw notFound()
  return { row, tenant }
}

async function upload(context: Context): Promise<Response> {
  const { row, tenant } = await permitted(context, 'PUT')
  const account = accountOf(context.env, tenant)
  if (row.status === 'pending') {
    if (!(await account.beginUpload(row.id, Date.now()))) {
      throw new GenerationError('idempotency_in_progress', 'the asset is being uploaded already; ask how it ended')
    }
    const failure = await store(context.req.raw, context.env.BUCKET, `t/${tenant}/${row.sha256}`, row)
    await account.finishAsset(row.id, failure === undefined ? 'ready' : 'rejected')
    if (failure !== undefined) throw failure
  }
  const stored = await account.asset({ tenant, subject: null }, row.id)
  return context.json(await describe(context, tenant, stored ?? row))
}

/** Streams the body into R2, which refuses it unless its hash is the announced one. Gives what was wrong, if anything. */
async function store(
  request: Request,
  bucket: R2Bucket,
  key: string,
  row: AssetRow,
): Promise<GenerationError | undefined> {
  if (request.body === null) return new GenerationError('invalid_parameter', 'body: got none, allowed is the asset')
  const { readable, writable } = new FixedLengthStream(row.bytes)
  // Settled from the start: it fails while the body is still being read where the body is refused.
  const put = Promise.allSettled([
    bucket.put(key, readable, { sha256: row.sha256, httpMetadata: { contentType: row.content_type } }),
  ])
  const refused = await pump(request.body, writable, row)
  const outcome = await put
  if (refused !== undefined) return refused
  if (outcome[0].status === 'fulfilled') return undefined
  return new GenerationError('invalid_parameter', 'body: its hash is not the one that was announced', {
    pointer: '/sha256',
    cause: outcome[0].reason,
  })
}

async function pump(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream,
  row: AssetRow,
): Promise<GenerationError | undefined> {
  const writer = writable.getWriter()
  let [seen, head] = [0, new Uint8Array()]
  let checked = false
  try {
    for await (const piece of body) {
      if (!checked) {
        head = Uint8Array.from([...head, ...piece.subarray(0, sniffLength)])
        checked = head.length >= Math.min(sniffLength, row.bytes)
        const wrong = checked ? wrongKind(head, row) : undefined
        if (wrong !== undefined) throw wrong
      }
      seen += piece.length
      if (seen > row.bytes) throw mismatch(`more than ${row.bytes}`, row.bytes)
      await writer.write(piece)
    }
    if (seen !== row.bytes) throw mismatch(String(seen), row.bytes)
    await writer.close()
    return undefined
  } catch (error) {
    await writer.abort(error).catch(() => undefined)
    return error instanceof GenerationError ? error : mismatch('a body that broke off', row.bytes)
  }
}

const mismatch = (got: string, announced: number): GenerationError =>
  new GenerationError('invalid_parameter', `body: got ${got} bytes, announced were ${announced}`, { pointer: '/bytes' })

function wrongKind(head: Uint8Array, { kind, content_type: type }: AssetRow): GenerationError | undefined {
  if (kind === 'latent') return undefined
  const found = sniff(head)?.contentType ?? 'nothing known'
  if (found !== type) {
    return new GenerationError('unsupported_media_type', `body: begins like ${found}, announced was ${type}`)
  }
  const size = pngSize(head)
  if (size === undefined || size.width * size.height <= maxPixels) return undefined
  return new GenerationError(
    'payload_too_large',
    `body: has ${size.width}x${size.height} pixels, allowed are 16 million`,
  )
}

async function download(context: Context): Promise<Response> {
  const { row, tenant } = await permitted(context, 'GET')
  if (row.status !== 'ready') throw new GenerationError('asset_not_ready', `the asset is ${row.status}`)
  const { bytes: size, sha256: etag, content_type: contentType } = row
  return serveObject(context.req.raw, context.env.BUCKET, { key: `t/${tenant}/${etag}`, size, etag, contentType })
}

async function read(context: Context): Promise<Response> {
  const id = parameter(context, 'id')
  const viewer = viewerOf(context.get('principal'))
  const row = isId('ast', id) ? await accountOf(context.env, viewer.tenant).asset(viewer, id) : null
  if (row === null) throw notFound()
  return context.json(await describe(context, viewer.tenant, row))
}

async function remove(context: Context): Promise<Response> {
  const id = parameter(context, 'id')
  const viewer = viewerOf(context.get('principal'))
  const gone = isId('ast', id) ? await accountOf(context.env, viewer.tenant).deleteAsset(viewer, id) : null
  if (gone === null) throw notFound()
  if (gone.key !== null) await context.env.BUCKET.delete(gone.key)
  return context.body(null, 204)
}

const answer = { description: 'The asset', schema: assetAnswerSchema }

export const assetRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/assets',
    access: 'video:create',
    operationId: 'createAsset',
    summary: 'Announce an asset; known bytes are ready at once',
    body: createSchema,
    headers: ['Idempotency-Key'],
    answers: { 201: answer },
    handler: create,
  },
  {
    method: 'PUT',
    path: '/v1/assets/{id}/content',
    access: 'signature',
    operationId: 'uploadAsset',
    summary: 'Upload the bytes of an asset',
    bodyType: 'application/octet-stream',
    query: ['tenant', 'sha256', 'expires', 'signature'],
    answers: { 200: answer },
    handler: upload,
  },
  {
    method: 'GET',
    path: '/v1/assets/{id}/content',
    access: 'signature',
    operationId: 'assetContent',
    summary: 'The bytes of an asset, for the executor that works on them',
    query: ['tenant', 'sha256', 'expires', 'signature'],
    answers: { 200: { description: 'The bytes', contentType: 'application/octet-stream' } },
    handler: download,
  },
  {
    method: 'GET',
    path: '/v1/assets/{id}',
    access: 'video:create',
    operationId: 'getAsset',
    summary: 'Read an asset',
    answers: { 200: answer },
    handler: read,
  },
  {
    method: 'DELETE',
    path: '/v1/assets/{id}',
    access: 'video:create',
    operationId: 'deleteAsset',
    summary: 'Delete an asset',
    answers: { 204: { description: 'Deleted' } },
    handler: remove,
  },
]
