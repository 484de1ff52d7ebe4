/**
 * A video from a service, by the SDK's remote half, in Node: prompt, progress, file.
 *
 *   ZOETROPE_URL=http://127.0.0.1:8787 ZOETROPE_KEY=zoe_… node examples/service.ts "a blue bird flies left over the sea"
 */

import { writeFile } from 'node:fs/promises'
import { serviceAt } from '../client/http.ts'
import { generateRemotely } from '../client/remote.ts'

const { ZOETROPE_URL: url = 'http://127.0.0.1:8787', ZOETROPE_KEY: key = '' } = process.env
const [prompt = 'a blue bird flies left over the sea'] = process.argv.slice(2)
const service = serviceAt(url, async () => key)
const run = generateRemotely(service, { prompt }, crypto.randomUUID(), AbortSignal.timeout(600_000))

for await (const event of run) {
  if (event.type === 'progress') console.log(`${event.stage} ${Math.round(100 * event.value)} %`)
  if (event.type !== 'status' || event.job.status !== 'completed') continue
  const [output] = event.job.outputs
  if (output === undefined) throw new Error(`${event.job.id}: completed without an output`)
  const answer = await fetch(new URL(output.url, url), { headers: { Authorization: `Bearer ${key}` } })
  await writeFile('video.mp4', new Uint8Array(await answer.arrayBuffer()))
  console.log(`video.mp4, seed ${event.job.seed}`)
}
