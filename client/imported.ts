/**
 * An imported model on this device: parts read through the store, text from what came with a request or its own encoder.
 *
 * Text encoders of released models outweigh everything else. Where a service embedded the prompt, none is fetched.
 */

import type { TextSource, WeightFiles } from '../models/pipeline/checkpoint.ts'
import { type FittedModel, fittedModel, importedPart, type LoadPart } from '../models/pipeline/imported.ts'
import type { KnownTexts } from '../models/pipeline/known-texts.ts'
import { localText } from '../models/pipeline/text-source.ts'
import { sentencePiece } from '../models/text/sentencepiece.ts'
import type { ImportedManifest } from '../models/weights/manifest.ts'
import { readSafetensors } from '../models/weights/safetensors.ts'
import { GenerationError } from '../shared/errors.ts'
import type { WeightsReference } from '../shared/manifest.ts'

/** The checked bytes of a file of the model. */
export type ReadPiece = (file: WeightsReference, signal: AbortSignal) => Promise<Uint8Array>

/** @throws GenerationError model_format or latent_mismatch as fittedModel does. */
export function fittedHere(manifest: ImportedManifest, read: ReadPiece, known: KnownTexts): FittedModel {
  const forever = new AbortController().signal
  const load: LoadPart = async ({ files }) => {
    const loaded: Record<string, WeightFiles[string]> = {}
    for (const file of files) loaded[file.file] = readSafetensors(await read(file, forever))
    return loaded
  }
  const own = ownText(manifest, load, (file) => read(file, forever))
  const text: TextSource = async (prompt, ...rest) => known(prompt) ?? own(prompt, ...rest)
  return fittedModel(manifest, load, text)
}

/** The model's own encoder, fetched with the first prompt that nobody else embedded. */
function ownText(
  { id, parts: { textEncoder }, tokenizer }: ImportedManifest,
  load: LoadPart,
  read: (file: WeightsReference) => Promise<Uint8Array>,
): TextSource {
  let source: Promise<TextSource> | undefined
  return async (...prompt) => {
    if (textEncoder === undefined || tokenizer === undefined)
      throw new GenerationError(
        'consent_required',
        `${id}: its text encoder is not here; pass baseUrl of a service that has it`,
      )
    source ??= read(tokenizer).then((words) =>
      localText(importedPart<'t5'>(textEncoder, load), sentencePiece(JSON.parse(new TextDecoder().decode(words)))),
    )
    return (await source)(...prompt)
  }
}
