/**
 * Imported models ready to run: their manifest held against their files, weights read when a session wants them.
 *
 * Every byte is checked against the manifest before it is used, once per process. A configuration that does not belong to
 * the weights asks for tensors of other shapes, and is refused before a session is made.
 */

import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { GenerationError } from '../../shared/errors.ts'
import type { TextSource } from '../pipeline/checkpoint.ts'
import {
  type FittedModel,
  fittedModel,
  importedPart,
  type LoadPart,
  partFiles,
  required,
} from '../pipeline/imported.ts'
import { localText } from '../pipeline/text-source.ts'
import { sentencePiece } from '../text/sentencepiece.ts'
import type { ImportedFile, ImportedManifest } from '../weights/manifest.ts'
import { readNamed, type SafetensorsFile } from '../weights/safetensors.ts'
import { importedFolder, loadManifest } from './import.ts'

export interface ImportedModel extends FittedModel {
  readonly manifest: ImportedManifest
}

export interface LoadOptions {
  readonly folder?: string
  /** Embeddings from elsewhere; the model then needs no text encoder. */
  readonly text?: TextSource
}

/**
 * An imported model whose parts are all there, or undefined where none has this name.
 * @throws GenerationError model_format naming the part that is missing.
 */
export async function loadImported(
  id: string,
  { folder = importedFolder(), text }: LoadOptions = {},
): Promise<ImportedModel | undefined> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(id)) return undefined
  const manifest = await loadManifest(folder, id)
  if (manifest === undefined) return undefined
  const load = partReader(join(folder, id))
  const words = text ?? ownText(manifest, join(folder, id), load)
  return { ...fittedModel(manifest, load, words), manifest }
}

/** The model's own text encoder and tokenizer; the tokenizer is read with the first prompt. @throws GenerationError model_format */
function ownText({ id, parts, tokenizer: file }: ImportedManifest, folder: string, load: LoadPart): TextSource {
  const encoder = importedPart<'t5'>(required(id, 'text encoder', parts.textEncoder), load)
  if (file === undefined)
    throw new GenerationError('model_format', `${id}: it has no tokenizer; import its text encoder --as ${id}`)
  let source: Promise<TextSource> | undefined
  return async (...prompt) => {
    source ??= tokenizerOf(id, folder, file, encoder.config.vocabulary).then((read) => localText(encoder, read))
    return (await source)(...prompt)
  }
}

/** @throws GenerationError model_format where it does not belong to the encoder. */
async function tokenizerOf(id: string, folder: string, file: ImportedFile, vocabulary: number) {
  const words = await readChecked(folder, file)
  const tokenizer = sentencePiece(JSON.parse(new TextDecoder().decode(words)))
  if (tokenizer.vocabulary <= vocabulary) return tokenizer
  const sizes = `${tokenizer.vocabulary} tokens, its text encoder ${vocabulary}`
  throw new GenerationError('model_format', `${id}: its tokenizer has ${sizes}; import the two that belong together`)
}

/** Reads the files of parts, each checked against the manifest once. */
function partReader(folder: string): LoadPart {
  const checked = new Set<string>()
  return async ({ files }) => {
    const read: Record<string, SafetensorsFile> = {}
    for (const file of files) {
      read[file.file] = readNamed(file.file, await readChecked(folder, file, checked.has(file.file)))
      checked.add(file.file)
    }
    return read
  }
}

/** A file's bytes, if they are those of the manifest. */
async function readChecked(folder: string, { file, bytes, sha256 }: ImportedFile, known = false): Promise<Uint8Array> {
  const data = await readFile(join(folder, file)).catch((error: NodeJS.ErrnoException) => {
    throw new GenerationError('weights_integrity', `${file}: cannot be read (${error.code}); import it again`, {
      cause: error,
    })
  })
  if (data.length !== bytes)
    throw new GenerationError('weights_integrity', `${file}: got ${data.length} bytes, allowed are ${bytes}`)
  if (!known && createHash('sha256').update(data).digest('hex') !== sha256)
    throw new GenerationError('weights_integrity', `${file}: its bytes are not those imported; import it again`)
  return data
}

/** Names of the folders that hold a manifest. */
export async function importedIds(folder = importedFolder()): Promise<string[]> {
  const inside = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const ids = inside.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  const held = await Promise.all(ids.map((id) => stat(join(folder, id, 'manifest.json')).catch(() => undefined)))
  return ids.filter((_, index) => held[index] !== undefined).sort()
}

/** One hash for all files of a model, in the order of its parts. */
export function importedHash(manifest: ImportedManifest): string {
  return createHash('sha256')
    .update(
      partFiles(manifest)
        .map(({ sha256 }) => sha256)
        .join('\n'),
    )
    .digest('hex')
}
