/**
 * Prompt expansion: a terse prompt made the kind of caption a model was trained on, before it is encoded.
 *
 * Off by default. The receipt holds both texts, the content key the one that is encoded. Source: the recaptioning of
 * DALL-E 3 (Betker et al., 2023), at its simplest.
 */

import * as v from 'valibot'
import type { Env } from './env.ts'

const colours = /\b(red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y)\b/
const places =
  /\b(over|in|on|at|under|through|across|above)\b|\b(meadow|sky|sea|desert|snow|city|forest|beach|night|space)\b/
const motions = /\b\w+(s|ing)\b/

/** Says what a sticker's prompt left open, and changes nothing that it said. */
export function expandByRules(prompt: string): string {
  const text = prompt.trim()
  if (text === '' || text.split(/\s+/).length > 12) return prompt
  const lower = text.toLowerCase()
  const article = /^(a|an|the|two|three|some)\b/i.test(text) ? text : `a ${text}`
  const coloured = colours.test(lower) ? article : article.replace(/^(an?|the)\s+/i, 'a blue ')
  const moving = motions.test(lower) ? coloured : `${coloured} moves right`
  const placed = places.test(lower) ? moving : `${moving} in a meadow`
  return placed
}

const expanderModel = '@cf/meta/llama-3.1-8b-instruct'
const instruction =
  'Rewrite the prompt for a text-to-video model as one sentence of at most 60 words. Keep every stated fact.'

/** The prompt to encode; the one that was sent where expansion is off or fails. */
export async function expandPrompt(prompt: string, env: Env): Promise<string> {
  const way = env.PROMPT_EXPANSION || 'off'
  if (way === 'rules') return expandByRules(prompt)
  if (way !== 'workers-ai' || env.AI === undefined) return prompt
  try {
    const messages = [
      { role: 'system', content: instruction },
      { role: 'user', content: prompt },
    ]
    const answer: unknown = await env.AI.run(expanderModel as keyof AiModels, { messages } as never)
    const { response } = v.parse(v.object({ response: v.pipe(v.string(), v.minLength(1), v.maxLength(2000)) }), answer)
    return response.normalize('NFC')
  } catch {
    return prompt
  }
}
