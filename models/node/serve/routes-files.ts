/**
 * Replicate's routes of files, with a repeatable upload by hash added: upload, look, delete, and the download whose address is its permission.
 */

import { createHash } from 'node:crypto'
import { Hono } from 'hono'
import { GenerationError } from '../../../shared/errors.ts'
import { readCapped } from './body.ts'
import { day, type FileStore, fileObject, type NewFile, notFound, type StoredFile, uploadLimit } from './files.ts'

export function fileRoutes(files: FileStore): Hono {
  const routes = new Hono()
  const shown = (file: StoredFile, url: string) => fileObject(file, new URL(url).origin, files)
  const known = (id: string): StoredFile => {
    const file = files.get(id)
    if (file === undefined) throw notFound(id)
    return file
  }
  routes.post('/files', async ({ req, json }) => json(shown(files.add(await uploaded(req.raw)), req.url), 201))
  // Content-addressed: sent again it is the same file, so what names it stays the same.
  routes.put('/files/:id{sha256-[0-9a-f]{64}}', async ({ req, json }) => {
    const id = req.param('id')
    const bytes = await readCapped(req.raw, uploadLimit)
    const file = { id, name: id, contentType: 'application/octet-stream', bytes, lifetime: day }
    if (`sha256-${createHash('sha256').update(bytes).digest('hex')}` !== id) {
      throw new GenerationError('invalid_parameter', `${id}: the bytes that came have another hash; send them again`)
    }
    return json(shown(files.add(file), req.url), 201)
  })
  routes.get('/files', ({ req, json }) =>
    json({ previous: null, next: null, results: files.list().map((file) => shown(file, req.url)) }),
  )
  routes.get('/files/:id', ({ req, json }) => json(shown(known(req.param('id')), req.url)))
  routes.delete('/files/:id', ({ req }) => {
    const { id } = known(req.param('id'))
    files.remove(id)
    return new Response(null, { status: 204 })
  })
  routes.get('/files/:id/download', ({ req }) => {
    const { expires = '', signature = '' } = req.query()
    return download(files.open(req.param('id'), expires, signature))
  })
  return routes
}

/** Multipart as the stock client sends it: `content`, and `metadata` as JSON. */
async function uploaded(request: Request): Promise<NewFile> {
  const body = await readCapped(request, uploadLimit)
  const headers = { 'content-type': request.headers.get('content-type') ?? '' }
  const form = await new Response(body, { headers }).formData().catch((cause: unknown) => {
    throw new GenerationError('invalid_parameter', 'body: is no multipart form; send the file as “content”', { cause })
  })
  const content = form.get('content')
  if (!(content instanceof File)) {
    throw new GenerationError('invalid_parameter', 'content: is missing or no file; send the file under this name')
  }
  const metadata = form.get('metadata')
  return {
    name: content.name,
    contentType: content.type || 'application/octet-stream',
    bytes: new Uint8Array(await content.arrayBuffer()),
    metadata: metadataOf(metadata instanceof File ? await metadata.text() : metadata),
    lifetime: day,
  }
}

function metadataOf(text: string | null): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? '{}')
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Falls through to the refusal, which says all a caller can use.
  }
  throw new GenerationError('invalid_parameter', 'metadata: is no JSON object; send one or leave it out')
}

function download({ bytes, contentType, sha256 }: StoredFile): Response {
  return new Response(bytes as Uint8Array<ArrayBuffer>, {
    headers: {
      'content-type': contentType,
      'content-length': String(bytes.length),
      etag: `"${sha256}"`,
      'cache-control': 'private, max-age=3600, immutable',
      // Whatever somebody uploaded, a browser must not run it as a page of this host.
      'x-content-type-options': 'nosniff',
      'content-security-policy': "sandbox; default-src 'none'",
    },
  })
}
