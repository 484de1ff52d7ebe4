/**
 * Prompts that somebody else has embedded: what comes of a service in place of a text encoder run here.
 */

/** Embeddings of one prompt, its own tokens only: [count, width]. */
export interface PromptEmbeddings {
  readonly data: Float32Array
  readonly count: number
  readonly width: number
  readonly truncated: boolean
}

/** The embeddings of a prompt, where they are known. */
export type KnownTexts = (prompt: string) => PromptEmbeddings | undefined
