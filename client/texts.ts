/**
 * Embeddings that came with requests, by model and prompt; the newest few are kept.
 */

import type { KnownTexts, PromptEmbeddings } from '../models/pipeline/known-texts.ts'

export interface TextShelf {
  readonly keep: (model: string, prompt: string, text: PromptEmbeddings) => void
  /** Those of one model; another's mean nothing to it. */
  readonly of: (model: string) => KnownTexts
}

const limit = 16

export function textShelf(): TextShelf {
  const texts = new Map<string, PromptEmbeddings>()
  const nameOf = (model: string, prompt: string) => `${model} ${prompt}`
  return {
    keep: (model, prompt, text) => {
      texts.delete(nameOf(model, prompt))
      texts.set(nameOf(model, prompt), text)
      const [oldest] = texts.keys()
      if (texts.size > limit && oldest !== undefined) texts.delete(oldest)
    },
    of: (model) => (prompt) => texts.get(nameOf(model, prompt)),
  }
}
