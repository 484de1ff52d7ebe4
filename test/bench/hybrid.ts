/**
 * How far a run in two places is from a whole one: the released models, this process as the device, `npm start` as the cloud.
 *
 *   node test/bench/hybrid.ts
 *
 * Prints the greatest difference of any number of the final latents. The device is onnxruntime-web on wasm, the cloud
 * onnxruntime-node.
 */

import { once } from 'node:events'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, clientOver } from '../../client/client.ts'
import type { VideoRequest } from '../../client/events.ts'
import { serviceAt } from '../../client/http.ts'
import type { Hybrid } from '../../client/hybrid.ts'
import { freePort } from '../../models/node/start/ports.ts'
import { developmentKey } from '../development-key.ts'
import { deviceHere, engineHere, modelSite, threadsHere } from '../engine-here.ts'
import { root } from '../sources.ts'
import { launch, ready } from '../started.ts'

const prompt = 'a blue bird flies left over the sea'

const cases: readonly (readonly [request: VideoRequest, cuts: readonly number[]])[] = [
  [{ prompt, seed: 0, model: 'zt-nano' }, [1, 2, 3, 4, 5, 6, 7, 8]],
  [{ prompt, seed: 0, model: 'zt-nano-teacher', scheduler: 'ddim' }, [1, 8, 16, 24, 31, 32]],
]

async function latentsOf(client: Client, request: VideoRequest, hybrid?: Hybrid): Promise<Float32Array> {
  using job = await client.videos.create(
    { ...request, outputFormat: 'latents' },
    hybrid === undefined ? {} : { hybrid },
  )
  const [output] = (await job.result()).outputs
  if (output === undefined) throw new Error('the run gave nothing')
  const bytes = output.blob === undefined ? (await fetch(output.url)).arrayBuffer() : output.blob.arrayBuffer()
  return new Float32Array(await bytes)
}

const distance = (one: Float32Array, other: Float32Array): string =>
  one.reduce((most, value, at) => Math.max(most, Math.abs(value - (other[at] as number))), 0).toExponential(1)

const folder = await mkdtemp(join(tmpdir(), 'zoetrope-hybrid-'))
for (const each of ['cards', 'weights']) await symlink(join(root, 'models', each), join(folder, each))
await mkdir(join(folder, 'imported'))
const [port, nodePort] = [await freePort(21_700), await freePort(21_705)]
const stack = await ready(launch({ port, nodePort, models: folder, environment: { DEVELOPMENT_KEY: developmentKey } }))
const site = await modelSite(folder, ['zt-nano', 'zt-nano-teacher'])
const device = engineHere(site.url)
for (const [{ model = '' }] of cases) await device.prefetch(model, new AbortController().signal, () => {})
const client = clientOver({
  threads: threadsHere(device),
  service: serviceAt(stack.address, async () => developmentKey),
  probe: deviceHere,
  inferenceMode: 'prefer_on_device',
})
console.log('| model | first | step | from the device’s whole run | from the cloud’s |\n|---|---|---|---|---|')
for (const [request, cuts] of cases) {
  const here = await latentsOf(client, { ...request, inferenceMode: 'only_on_device' })
  const there = await latentsOf(client, { ...request, inferenceMode: 'only_in_cloud' })
  console.log(`| ${request.model} | in one place | | 0 | ${distance(here, there)} |`)
  for (const first of ['in_cloud', 'on_device'] as const) {
    for (const step of cuts) {
      const cut = await latentsOf(client, request, { first, step })
      console.log(`| ${request.model} | ${first} | ${step} | ${distance(cut, here)} | ${distance(cut, there)} |`)
    }
  }
}
stack.child.kill('SIGINT')
await once(stack.child, 'exit')
await site[Symbol.asyncDispose]()
for (const each of [folder, join(root, '.wrangler', `state-${port}`)]) await rm(each, { recursive: true, force: true })
