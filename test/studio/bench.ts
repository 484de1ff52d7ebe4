/**
 * `npm run bench:client`: what a page pays, in bytes and in seconds. Prints the tables of docs/figures.md.
 *
 * Released model, its own size and steps, everything on loopback. WebGPU is SwiftShader here, a GPU in software: reported,
 * not judged.
 */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { gzipSync } from 'node:zlib'
import { deviceModelOf } from '../../client/device-model.ts'
import { nodeBackend } from '../../models/node/backend.ts'
import { defaultModel, loadCard, loadModel } from '../../models/node/models.ts'
import { runner } from '../../models/pipeline/generate.ts'
import { resolveRequest } from '../../shared/effective.ts'
import type { EffectiveRequest } from '../../shared/generation.ts'
import { estimated, generate } from './generation.ts'
import { type SiteOptions, sdkSite, studioSite, withoutGpu } from './site.ts'
import { quantile } from './tasks.ts'

const prompt = 'a blue bird flies left over the sea'
const print = (line: string) => process.stdout.write(`${line}\n`)
const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`
const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`

async function compressed(folder: string, wanted: (path: string) => boolean): Promise<number> {
  const files = (await readdir(folder, { recursive: true })).filter((path) => /\.\w+$/.test(path) && wanted(path))
  const sizes = files.map(async (path) => gzipSync(await readFile(join(folder, path)), { level: 9 }).length)
  return (await Promise.all(sizes)).reduce((sum, each) => sum + each, 0)
}

/** An entry and what it imports at once, compressed. */
async function entryBytes(folder: string, entry: string): Promise<number> {
  const code = await readFile(join(folder, entry), 'utf8')
  const imported = [...code.matchAll(/(?:from|import)\s*"(\.[^"]+)"/g)].map(
    ([, name]) => name?.replace('./', '') as string,
  )
  const rest = await Promise.all(imported.map((name) => entryBytes(folder, name)))
  return gzipSync(code, { level: 9 }).length + rest.reduce((sum, each) => sum + each, 0)
}

interface Steps {
  /** Milliseconds. */
  readonly step: number
  readonly whole: number
}

/** The middle one of the steps of a warm run, and its whole. */
function steps(times: readonly number[]): Steps {
  const each = times.slice(1, -1).map((time, at) => time - (times[at] as number))
  return { step: quantile(each, 0.5), whole: times.at(-1) as number }
}

async function onNode(): Promise<Steps> {
  const card = await loadCard(defaultModel)
  await using engine = runner(await loadModel(card), nodeBackend())
  const { effective } = resolveRequest({ prompt }, deviceModelOf(card), { seed: 7 })
  const once = async () => {
    const began = performance.now()
    const times: number[] = []
    for await (const event of engine.generate(effective as EffectiveRequest, new AbortController().signal))
      if (event.type === 'progress' && event.stage === 'denoise') times.push(performance.now() - began)
    return [...times, performance.now() - began]
  }
  await once()
  return steps(await once())
}

/** From typing the address to the first clip, nothing being there before. */
async function firstVisit(options: SiteOptions, withGpu: boolean): Promise<number> {
  await using site = await studioSite(options)
  if (!withGpu) await withoutGpu(site.context)
  const page = await site.open()
  const began = performance.now()
  await page.goto(site.url)
  await page.fill('#prompt', prompt)
  await page.click('#make:enabled')
  await page.waitForSelector('.card')
  return performance.now() - began
}

const released: SiteOptions = { more: null, measured: true }
{
  await using sdk = await sdkSite(released)
  await using studio = await studioSite(released)
  print('| bytes, gzip | |\n|---|---|')
  print(`| SDK, what a page loads at once | ${kilobytes(await entryBytes(sdk.folder, 'index.js'))} |`)
  print(
    `| its engine, when a run begins | ${kilobytes(await compressed(sdk.folder, (path) => /^assets\/thread-/.test(path)))} |`,
  )
  const own = (path: string) => !/^(runtime|models)\/|thread-/.test(path)
  print(
    `| studio, all of the page but engine, runtime and model | ${kilobytes(await compressed(studio.folder, own))} |`,
  )

  const page = await sdk.open()
  await page.goto(sdk.url)
  print('\n| | a step | a clip, warm | estimated before any run |\n|---|---|---|---|')
  for (const [name, provider] of [
    ['onnxruntime-web, WebGPU on SwiftShader', 'webgpu'],
    ['onnxruntime-web, wasm', 'wasm'],
  ] as const) {
    const before = await estimated(page, { prompt }, provider)
    await generate(page, { prompt, seed: 6 }, { provider })
    const { step, whole } = steps((await generate(page, { prompt, seed: 7 }, { provider })).times)
    print(`| ${name} | ${step.toFixed(0)} ms | ${seconds(whole)} | ${seconds(before)} |`)
  }
}
const { step, whole } = await onNode()
print(`| onnxruntime-node | ${step.toFixed(1)} ms | ${seconds(whole)} | |`)

print('\n| first visit to first clip | |\n|---|---|')
print(`| a browser without WebGPU | ${seconds(await firstVisit(released, false))} |`)
print(`| WebGPU on SwiftShader | ${seconds(await firstVisit(released, true))} |`)
