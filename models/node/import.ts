/**
 * Importing a checkpoint: what it is, what it lacks, and its parts written where models are looked for.
 *
 * A model is a folder with a manifest; each import adds parts to it, so a denoiser, a text encoder and a decoder may come
 * from different files. A part whose tensors are all stored as wanted, in files that any runtime can hold, is linked
 * rather than written anew, under the names it has.
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, link, mkdir, readFile, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { GenerationError } from '../../shared/errors.ts'
import type { ReleasedPlanName } from '../../shared/released-plans.ts'
import { sizeOf } from '../graph/graph.ts'
import { readSpiece } from '../text/spiece.ts'
import { bytesOf, conversionsOf, type Precision, type TensorConversion } from '../weights/conversion.ts'
import { licenses } from '../weights/licenses.ts'
import { type ImportedFile, type ImportedManifest, type ImportedPart, readManifest } from '../weights/manifest.ts'
import { parts } from '../weights/parts.ts'
import type { FoundPart } from '../weights/recognise.ts'
import type { PartKind } from '../weights/rename.ts'
import type { OpenCheckpoint } from './checkpoint-files.ts'
import { cacheFolder, writeAtomically } from './checkpoints.ts'
import { convertTensor, type KeptTensor, tensorLimit } from './convert.ts'
import { chunkBytes, shardLimit, shardWriter } from './shards.ts'

/** Where imported models live: ZOETROPE_MODELS, or beside the training runs. */
export const importedFolder = (): string => process.env.ZOETROPE_MODELS ?? join(cacheFolder(), 'models')

export interface ImportOptions {
  readonly folder: string
  readonly id: string
  readonly precision: Precision
  /** The denoiser's plan; guessed from the file's name when left out. */
  readonly plan?: ReleasedPlanName
  readonly signal: AbortSignal
  readonly show: (line: string) => void
}

/** What a part would become. */
export interface PartPlan {
  readonly part: FoundPart
  readonly conversions: readonly TensorConversion[]
  readonly parameters: number
  readonly bytes: number
  readonly inPlace: boolean
}

/** @throws GenerationError model_format for a part that lacks tensors or has them in other shapes. */
export function planPart(part: FoundPart, checkpoint: OpenCheckpoint, precision: Precision): PartPlan {
  requireWhole(part)
  const conversions = conversionsOf(part, precision)
  return {
    part,
    conversions,
    parameters: conversions.reduce((total, { shape }) => total + sizeOf(shape), 0),
    bytes: conversions.reduce((total, { shape, target }) => total + bytesOf(shape, target), 0),
    inPlace: checkpoint.bytes <= shardLimit && conversions.every(asStored),
  }
}

const asStored = ({ source, target, shape }: TensorConversion): boolean =>
  source.entry.dtype === target && bytesOf(shape, target) <= tensorLimit

function requireWhole({ kind, missing, misshapen }: FoundPart): void {
  const [first, ...more] = [...missing.map((name) => `there is no ${name}`), ...misshapen]
  if (first === undefined) return
  const rest = more.length === 0 ? '' : `, and ${more.length} more like it`
  throw new GenerationError('model_format', `${parts[kind].title}: ${first}${rest}; fetch the whole checkpoint`)
}

/** Writes a part into a model's folder and enters it in the manifest. */
export async function importPart(
  plan: PartPlan,
  checkpoint: OpenCheckpoint,
  options: ImportOptions,
): Promise<ImportedManifest> {
  const { kind, config } = plan.part
  const { files, kept } = plan.inPlace
    ? { files: await linked(plan, options), kept: [] }
    : await converted(plan, checkpoint, options)
  const [source] = Object.keys(checkpoint.headers)
  const written: ImportedPart = {
    kind,
    config: JSON.parse(JSON.stringify(config)) as Record<string, unknown>,
    precision: options.precision,
    files,
    kept,
    source: { file: basename(source as string), bytes: checkpoint.bytes },
  }
  return enter(written, kind, options, await additions(plan.part, source as string, options))
}

/** What comes into the manifest with a part: a denoiser's plan, a text encoder's tokenizer. */
async function additions(
  { kind }: FoundPart,
  source: string,
  { folder, id, plan }: ImportOptions,
): Promise<Pick<ImportedManifest, 'plan' | 'tokenizer'>> {
  const { slot } = parts[kind]
  if (slot === 'denoiser') return { plan: plan ?? guessedPlan(kind, source) }
  const tokenizer = slot === 'textEncoder' ? await tokenizerBeside(source) : undefined
  if (tokenizer === undefined) return {}
  const path = join(folder, id, 'tokenizer.json')
  await writeAtomically(path, tokenizer)
  return { tokenizer: await hashed(path) }
}

/** Releases say in their names, or in that of their folder, which plan they were distilled for; others were not distilled. */
export function guessedPlan(kind: PartKind, path: string): ReleasedPlanName {
  const name = path.split(/[\\/]/).slice(-3).join('/')
  if (kind === 'ltx-dit') {
    if (!/distill/i.test(name)) return 'ltx-base'
    return /0[._-]9[._-]6/.test(name) ? 'ltx-0.9.6-distilled' : 'ltx-0.9.8-distilled'
  }
  if (/self[._-]?forcing/i.test(name)) return 'self-forcing'
  if (/lightx2v|distill/i.test(name)) return 'lightx2v-4'
  return /fastwan|(^|[^a-z])dmd/i.test(name) ? 'fastwan-dmd' : 'wan2.1-base'
}

/** A tokenizer.json: the one in the encoder's folder or in the folder of tokenizers beside it, or made of a spiece.model there. */
async function tokenizerBeside(encoder: string): Promise<string | undefined> {
  const folder = dirname(encoder)
  const places = [folder, join(folder, '..', 'tokenizer')]
  for (const place of places) {
    const json = await readFile(join(place, 'tokenizer.json'), 'utf8').catch(() => undefined)
    if (json !== undefined) return json
  }
  for (const place of places) {
    const model = await readFile(join(place, 'spiece.model')).catch(() => undefined)
    if (model !== undefined) return JSON.stringify(readSpiece(model))
  }
  return undefined
}

async function converted({ part, conversions }: PartPlan, checkpoint: OpenCheckpoint, options: ImportOptions) {
  const { folder, id, signal, show } = options
  const names = conversions.reduce((total, { name }) => total + name.length, 0)
  const shards = shardWriter({
    folder: join(folder, id),
    stem: `${part.kind}-${options.precision}`,
    // A tensor has at most two entries, each its name and some 120 bytes; pieces are few.
    headerRoom: 2 * names + 280 * conversions.length + 4096,
    metadata: { producer: 'zoetrope', kind: part.kind, license: licenses[part.kind].name },
  })
  const kept: KeptTensor[] = []
  try {
    for (const [index, conversion] of conversions.entries()) {
      show(`${parts[part.kind].title}: tensor ${index + 1} of ${conversions.length}`)
      const gate = await convertTensor(conversion, { checkpoint, shards, signal })
      if (gate !== undefined) kept.push(gate)
    }
    return { files: await shards.finish(), kept }
  } catch (error) {
    await shards.abandon()
    throw error
  }
}

/** The files themselves under a model's folder, without a copy where the disk allows it. */
async function linked({ conversions }: PartPlan, { folder, id }: ImportOptions): Promise<ImportedFile[]> {
  const target = join(folder, id)
  await mkdir(target, { recursive: true })
  const locations = [...new Set(conversions.map(({ source }) => source.location))]
  return Promise.all(
    locations.map(async (location) => {
      const path = join(target, basename(location))
      await rm(path, { force: true })
      await link(location, path).catch(() => copyFile(location, path))
      return hashed(path)
    }),
  )
}

/** A file's manifest entry. */
export async function hashed(path: string): Promise<ImportedFile> {
  const { size } = await stat(path)
  const whole = createHash('sha256')
  let chunk = createHash('sha256')
  const chunks: string[] = []
  let filled = 0
  for await (const piece of createReadStream(path, { highWaterMark: 2 ** 20 }) as AsyncIterable<Uint8Array>) {
    whole.update(piece)
    // A chunk is a whole number of reads, so no read spans two chunks.
    chunk.update(piece)
    filled += piece.length
    if (filled % chunkBytes === 0) {
      chunks.push(chunk.digest('hex'))
      chunk = createHash('sha256')
    }
  }
  if (filled % chunkBytes !== 0) chunks.push(chunk.digest('hex'))
  return { file: basename(path), bytes: size, sha256: whole.digest('hex'), chunkBytes, chunks }
}

async function enter(
  part: ImportedPart,
  kind: PartKind,
  { folder, id }: ImportOptions,
  additions: Pick<ImportedManifest, 'plan' | 'tokenizer'>,
): Promise<ImportedManifest> {
  const known = await loadManifest(folder, id)
  const manifest = readManifest({
    ...known,
    ...additions,
    format: 1,
    id,
    licenses: { ...known?.licenses, [kind]: licenses[kind].name },
    parts: { ...known?.parts, [parts[kind].slot]: part },
  })
  await writeAtomically(manifestPath(folder, id), `${JSON.stringify(manifest, undefined, 2)}\n`)
  await removeUnused(known, manifest, join(folder, id))
  return manifest
}

async function removeUnused(before: ImportedManifest | undefined, after: ImportedManifest, folder: string) {
  const used = new Set(filesOf(after))
  const stale = before === undefined ? [] : filesOf(before).filter((file) => !used.has(file))
  await Promise.all(stale.map((file) => rm(join(folder, file), { force: true })))
}

const filesOf = ({ parts: held }: ImportedManifest): string[] =>
  Object.values(held).flatMap((part) => part?.files.map(({ file }) => file) ?? [])

const manifestPath = (folder: string, id: string): string => join(folder, id, 'manifest.json')

/** A model's manifest, or undefined where there is no such model. @throws GenerationError model_format */
export async function loadManifest(folder: string, id: string): Promise<ImportedManifest | undefined> {
  const text = await readFile(manifestPath(folder, id), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  try {
    return readManifest(JSON.parse(text))
  } catch (error) {
    if (error instanceof GenerationError) throw error
    throw new GenerationError('model_format', `${id}: its manifest is no JSON; import it again`, { cause: error })
  }
}
