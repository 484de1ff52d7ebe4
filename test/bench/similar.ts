/**
 * What a similar start is worth: `node test/bench/similar.ts [PAIRS]`, the released student, this process.
 *
 * Pairs of captions, the second saying the same in other words, or another wish with one attribute changed. For each:
 * how like they are, and whether the second's clip shows what it asks for, run whole and from the first's latents after
 * half the plan. Prints what a caller gets by the least score it accepts.
 */

import { nodeBackend } from '../../models/node/backend.ts'
import { loadCard, loadModel } from '../../models/node/models.ts'
import { runner } from '../../models/pipeline/generate.ts'
import type { Split } from '../../models/pipeline/split.ts'
import { toFloat16 } from '../../models/weights/float16.ts'
import { caption } from '../../models/world/captions.ts'
import { accuracyOf } from '../../models/world/metrics.ts'
import { type Reading, readClip } from '../../models/world/oracles.ts'
import { type Attributes, sampleAttributes } from '../../models/world/vocabulary.ts'
import { type EffectiveRequest, effectiveRequest } from '../../shared/generation.ts'
import { cosine, pooled } from '../../shared/likeness.ts'

const pairs = Number(process.argv[2] ?? 96)
const firstSeed = 0x9200000
const { signal } = new AbortController()
const card = await loadCard('zt-nano')
await using running = runner(await loadModel(card), nodeBackend())

const requestOf = (prompt: string, seed: number): EffectiveRequest => effectiveRequest({ prompt, seed }, card, seed)

/** As the Worker has it: in half precision, over the wire. */
async function meaning(prompt: string): Promise<Float32Array> {
  const { text, tokens } = await running.embed([prompt])
  const bytes = toFloat16(text.data as Float32Array).buffer as ArrayBuffer
  return pooled({ bytes, description: JSON.stringify({ shape: text.shape, tokens }) })
}

async function latentsOf(request: EffectiveRequest, split: Split) {
  const events = running.denoise(request, signal, split)
  for (;;) {
    const { done, value } = await events.next()
    if (done) return value
  }
}

async function readingOf(request: EffectiveRequest, split: Split): Promise<Reading> {
  const { num_frames: frames, height, width } = request
  const pixels = new Uint8Array(frames * height * width * 3)
  for await (const event of running.decode(request, await latentsOf(request, split), signal)) {
    if (event.type === 'part') pixels.set(event.part.pixels, event.part.first * height * width * 3)
  }
  return readClip({ frames, height, width, pixels })
}

interface Pair {
  readonly kind: 'the same' | 'another'
  readonly score: number
  readonly asked: Partial<Attributes>
  readonly whole: Reading
  readonly started: Reading
}

async function pairOf(index: number): Promise<Pair> {
  const seed = firstSeed + index
  const [attributes, others] = [sampleAttributes(seed, 'all'), sampleAttributes(seed + 0x10000, 'all')]
  const names = Object.keys(attributes) as (keyof Attributes)[]
  const changed = names[index % names.length] as keyof Attributes
  const kind = index % 2 === 0 || attributes[changed] === others[changed] ? 'the same' : 'another'
  const wanted = kind === 'the same' ? attributes : { ...attributes, [changed]: others[changed] }
  const [before, after] = [caption(attributes, seed), caption(wanted, kind === 'the same' ? seed + 1 : seed)]
  const [first, second] = [requestOf(before.text, index), requestOf(after.text, index)]
  const half = first.num_inference_steps / 2
  const { data } = await latentsOf(first, { until: half })
  return {
    kind,
    score: cosine(await meaning(before.text), await meaning(after.text)),
    asked: after.asked,
    whole: await readingOf(second, {}),
    started: await readingOf(second, { from: { data, step: half } }),
  }
}

const all: Pair[] = []
for (let index = 0; index < pairs; index++) all.push(await pairOf(index))

const share = (some: readonly unknown[], of: readonly unknown[]): string => `${some.length} of ${of.length}`
const right = (some: readonly Pair[], which: 'whole' | 'started'): string => {
  if (some.length === 0) return ''
  const readings = some.map((pair) => pair[which])
  const { capAcc } = accuracyOf(
    readings,
    some.map(({ asked }) => asked),
  )
  return `${capAcc.value.toFixed(2)} (${capAcc.low.toFixed(2)} to ${capAcc.high.toFixed(2)})`
}

console.log(
  '| least score | the same, found | another, found | right, run whole | right, from half |\n|---|---|---|---|---|',
)
for (const least of [0.98, 0.95, 0.9, 0.8]) {
  const found = all.filter(({ score }) => score >= least)
  const of = (kind: Pair['kind'], pairs: readonly Pair[]) => pairs.filter((pair) => pair.kind === kind)
  const counts = (['the same', 'another'] as const).map((kind) => share(of(kind, found), of(kind, all)))
  console.log(`| ${[least, ...counts, right(found, 'whole'), right(found, 'started')].join(' | ')} |`)
}
