/**
 * Bringing a result home: fetched from the provider's own hosts, told by its bytes, hashed, stored.
 *
 * Nothing is believed that the bytes do not say. Small outputs are held once; large ones are read twice, first to know
 * their hash, then to store them under it, and R2 checks that both were the same.
 */

import type { EffectiveVideo } from '../../shared/effective.ts'
import { GenerationError } from '../../shared/errors.ts'
import { hex, sha256 } from '../bytes.ts'
import { readLimited } from '../json.ts'
import { sniff, sniffLength } from '../media.ts'
import type { Provider } from '../providers/provider.ts'
import type { StoredOutput } from './contract.ts'

const outputLimit = 209_715_200
const heldLimit = 16_777_216
const maxOutputs = 4

/** What the bytes of each format begin as; latents begin as anything. */
const begins: Readonly<Record<EffectiveVideo['output_format'], string | null>> = {
  mp4: 'mp4',
  webm: 'webm',
  gif: 'gif',
  webp: 'webp',
  png: 'png',
  frames: 'zip',
  latents: null,
}

const invalid = (message: string): GenerationError => new GenerationError('output_invalid', message)

/** Stores every output of a finished operation. Storing the same bytes again changes nothing. */
export async function storeOutputs(
  urls: readonly string[],
  effective: EffectiveVideo,
  tenant: string,
  provider: Provider,
  bucket: R2Bucket,
  signal: AbortSignal,
): Promise<StoredOutput[]> {
  if (urls.length === 0) throw invalid('the provider finished without an output')
  const wanted = urls.slice(0, Math.min(maxOutputs, effective.n))
  if (wanted.length < effective.n) throw invalid(`the provider made ${wanted.length} of ${effective.n} outputs`)
  const outputs: StoredOutput[] = []
  for (const [index, url] of wanted.entries()) {
    const stored = await storeOutput(url, effective, tenant, provider, bucket, signal)
    outputs.push({ ...describe(effective, stored), index })
  }
  return outputs
}

interface Stored {
  readonly key: string
  readonly sha256: string
  readonly bytes: number
  readonly contentType: string
}

async function storeOutput(
  url: string,
  effective: EffectiveVideo,
  tenant: string,
  provider: Provider,
  bucket: R2Bucket,
  signal: AbortSignal,
): Promise<Stored> {
  const open = () => openOutput(provider, url, signal)
  const response = await open()
  const length = Number(response.headers.get('content-length') ?? Number.NaN)
  if (length > outputLimit) throw invalid(`the output has ${length} bytes, allowed are ${outputLimit}`)
  const small = length <= heldLimit
  const seen = small ? await hold(response) : await measure(response)
  if (seen.bytes === 0) throw invalid('the output is empty')
  if (!Number.isNaN(length) && seen.bytes !== length) throw invalid(`the output was cut at ${seen.bytes} of ${length}`)
  const contentType = typeOf(seen.head, effective.output_format)
  const key = `t/${tenant}/${seen.sha256}`
  if ((await bucket.head(key)) === null) {
    const body = seen.held ?? (await fixedBody(await open(), seen.bytes))
    await bucket.put(key, body, { sha256: seen.sha256, httpMetadata: { contentType } })
  }
  return { key, sha256: seen.sha256, bytes: seen.bytes, contentType }
}

async function openOutput(provider: Provider, url: string, signal: AbortSignal): Promise<Response> {
  let response: Response
  try {
    response = await provider.fetchOutput(url, signal)
  } catch (error) {
    throw invalid(`the output cannot be fetched (${error instanceof Error ? error.message : 'no reason'})`)
  }
  if (response.status !== 200 || response.body === null) throw invalid(`the output answers ${response.status}`)
  return response
}

interface Seen {
  readonly sha256: string
  readonly bytes: number
  readonly head: Uint8Array
  readonly held?: Uint8Array
}

async function hold(response: Response): Promise<Seen> {
  const held = await readAll(response, heldLimit)
  return { sha256: await sha256(held), bytes: held.length, head: held.subarray(0, sniffLength), held }
}

const readAll = (response: Response, limit: number): Promise<Uint8Array<ArrayBuffer>> =>
  readLimited(response.body, limit).catch((error: unknown) => {
    throw error instanceof GenerationError
      ? invalid('the output is longer than it said')
      : invalid('the output broke off')
  })

/** Hash, length and beginning, holding none of it. */
async function measure(response: Response): Promise<Seen> {
  const digest = new crypto.DigestStream('SHA-256')
  const writer = digest.getWriter()
  const head = new Uint8Array(sniffLength)
  let bytes = 0
  for await (const piece of response.body as ReadableStream<Uint8Array>) {
    if (bytes < sniffLength) head.set(piece.subarray(0, sniffLength - bytes), bytes)
    bytes += piece.length
    if (bytes > outputLimit) throw invalid(`the output has more than ${outputLimit} bytes`)
    await writer.write(piece)
  }
  await writer.close()
  return { sha256: hex(await digest.digest), bytes, head }
}

/** R2 wants to know the length beforehand. */
async function fixedBody(response: Response, bytes: number): Promise<ReadableStream> {
  return (response.body as ReadableStream).pipeThrough(new FixedLengthStream(bytes))
}

function typeOf(head: Uint8Array, format: EffectiveVideo['output_format']): string {
  const wanted = begins[format]
  if (wanted === null) return 'application/octet-stream'
  const kind = sniff(head)
  if (kind?.format !== wanted) throw invalid(`the output begins like ${kind?.format ?? 'nothing known'}, not ${wanted}`)
  return kind.contentType
}

const variants = { frames: 'frames', latents: 'latent' } as const

function describe(effective: EffectiveVideo, stored: Stored): Omit<StoredOutput, 'index'> {
  const format = effective.output_format
  return {
    variant: format === 'frames' || format === 'latents' ? variants[format] : 'video',
    format,
    content_type: stored.contentType,
    bytes: stored.bytes,
    sha256: stored.sha256,
    width: effective.width,
    height: effective.height,
    fps: effective.fps,
    num_frames: effective.num_frames,
    key: stored.key,
  }
}
