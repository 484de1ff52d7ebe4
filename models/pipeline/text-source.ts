/**
 * Embeddings of prompts by a released text encoder, in memory only while it is used.
 *
 * These encoders outweigh every denoiser they serve, so the session goes as soon as a prompt is encoded, and what was
 * encoded is kept: only a prompt's own tokens, which is all that need ever travel.
 */

import { input } from '../graph/graph.ts'
import { t5Encoder } from '../networks/t5.ts'
import type { PromptTokenizer } from '../text/sentencepiece.ts'
import type { Backend } from './backend.ts'
import { type CheckpointPart, sourceOf, type TextSource } from './checkpoint.ts'
import type { PromptEmbeddings } from './known-texts.ts'

/** Encodes here. Prompts asked for again are not encoded again. */
export function localText(part: CheckpointPart<'t5'>, tokenizer: PromptTokenizer): TextSource {
  const known = new Map<string, Promise<PromptEmbeddings>>()
  return (prompt, limit, backend) => {
    const key = `${limit} ${prompt}`
    const kept = known.get(key)
    if (kept !== undefined) return kept
    const fresh = encodePrompt(part, tokenizer, backend, prompt, limit)
    known.set(key, fresh)
    // A failure is not kept.
    fresh.catch(() => known.delete(key))
    return fresh
  }
}

async function encodePrompt(
  part: CheckpointPart<'t5'>,
  tokenizer: PromptTokenizer,
  backend: Backend,
  prompt: string,
  limit: number,
): Promise<PromptEmbeddings> {
  const length = Math.min(limit, Math.ceil(tokenizer.tokenize(prompt).length / 16) * 16)
  const { ids, mask, truncated } = tokenizer.encode(prompt, length)
  const shape = [1, length]
  const source = sourceOf(part, await part.load(), () => ({
    text: t5Encoder(part.config, input('ids', shape, 'int32'), input('mask', shape)),
  }))
  await using session = await backend.load(source)
  const outputs = await session.run({
    ids: { dtype: 'int32', shape, data: ids },
    mask: { dtype: 'float32', shape, data: mask },
  })
  const rows = outputs.text?.data as Float32Array
  const count = mask.reduce((total, each) => total + each, 0)
  const { width } = part.config
  return { data: rows.slice(0, count * width), count, width, truncated }
}
