/**
 * The moderation hook: what may not be asked for. Fails closed: no verdict, no dispatch.
 *
 * By default a bundled list of rules; by configuration any HTTP service that answers {"allowed": boolean}, or
 * Workers AI. Prompts are never logged. A list of words is a floor, not a judgement.
 */

import * as v from 'valibot'
import { GenerationError } from '../shared/errors.ts'
import type { Env } from './env.ts'

const timeoutMs = 2_000

/** Sexual content with minors, and instructions for mass harm; spelled with the usual substitutions undone. */
const rules: readonly RegExp[] = [
  /\b(child|children|kid|kids|minor|minors|toddler|infant|teen|teenager|schoolgirl|schoolboy|underage|preteen|loli|shota)\b.*\b(nude|naked|sex|sexual|porn|erotic|undress\w*|topless|nsfw)\b/,
  /\b(nude|naked|sex|sexual|porn|erotic|undress\w*|topless|nsfw)\b.*\b(child|children|kid|kids|minor|minors|toddler|infant|teen|teenager|schoolgirl|schoolboy|underage|preteen|loli|shota)\b/,
  /\bchild\s*(porn\w*|abuse)\b|\bcsam\b/,
  /\b(how to|instructions?|recipe|build|make)\b.*\b(pipe bomb|nerve agent|sarin|dirty bomb)\b/,
  /\b(beheading|execution) (video|footage) of (a )?real\b/,
]

const substitutes: Readonly<Record<string, string>> = {
  '0': 'o',
  '1': 'i',
  '3': 'e',
  '4': 'a',
  '5': 's',
  '7': 't',
  '@': 'a',
  $: 's',
  '!': 'i',
}

/** Undoes look-alikes, accents, invisible characters and letters pulled apart; for judging only. */
function plain(text: string): string {
  const letters = text
    .normalize('NFKD')
    .replace(/\p{M}|\p{Cf}/gu, '')
    .toLowerCase()
    .replace(/[013457@$!]/g, (character) => substitutes[character] ?? character)
  const joined = letters.replace(/\b(?:[a-z][\s._*-]+){2,}[a-z]\b/g, (word) => word.replace(/[^a-z]/g, ''))
  return joined.replace(/[^a-z0-9]+/g, ' ')
}

/** Whether the bundled rules allow a text. */
export function isAllowed(text: string): boolean {
  const judged = plain(text)
  return !rules.some((rule) => rule.test(judged))
}

/**
 * Judges the texts of a request.
 * @throws GenerationError content_blocked, or moderation_unavailable where no verdict came.
 */
export async function moderate(texts: readonly string[], env: Env): Promise<void> {
  const way = env.MODERATION || 'rules'
  const allowed = texts.every(isAllowed) && (way === 'rules' || (await ask(way, texts, env)))
  if (!allowed) throw new GenerationError('content_blocked', 'prompt: is not allowed here', { pointer: '/prompt' })
}

async function ask(way: string, texts: readonly string[], env: Env): Promise<boolean> {
  try {
    return way === 'workers-ai' ? await askWorkersAi(texts, env) : await askService(way, texts)
  } catch (error) {
    throw new GenerationError('moderation_unavailable', 'moderation: gave no verdict; try again', {
      cause: error,
      retryAfterMs: 5_000,
    })
  }
}

const verdictSchema = v.object({ allowed: v.boolean() })

async function askService(url: string, texts: readonly string[]): Promise<boolean> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ texts }),
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!response.ok) throw new Error(`moderation answers ${response.status}`)
  return v.parse(verdictSchema, await response.json()).allowed
}

const guardModel = '@cf/meta/llama-guard-3-8b'

async function askWorkersAi(texts: readonly string[], { AI }: Env): Promise<boolean> {
  if (AI === undefined) throw new Error('the binding AI is missing')
  const messages = [{ role: 'user', content: texts.join('\n') }]
  const late = new Promise<never>((_, reject) => {
    AbortSignal.timeout(timeoutMs).addEventListener('abort', () => reject(new Error('too late')))
  })
  const answer: unknown = await Promise.race([AI.run(guardModel as keyof AiModels, { messages } as never), late])
  const { response } = v.parse(v.object({ response: v.string() }), answer)
  return response.trim().toLowerCase().startsWith('safe')
}
