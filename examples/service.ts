/**
 * A video from a service, by the SDK in Node: prompt, progress, file.
 *
 *   ZOETROPE_URL=http://127.0.0.1:8787 ZOETROPE_KEY=zoe_… node examples/service.ts "a blue bird flies left over the sea"
 */

import { writeFile } from 'node:fs/promises'
// In a checkout; an installed package has it as 'zoetrope/client'.
import { createClient } from '../client/index.ts'

const { ZOETROPE_URL: baseUrl = 'http://127.0.0.1:8787', ZOETROPE_KEY: key = '' } = process.env
const [prompt = 'a blue bird flies left over the sea'] = process.argv.slice(2)

const zoetrope = createClient({ baseUrl, tokenProvider: async () => key })
const job = await zoetrope.videos.create({ prompt })
for await (const event of job.events()) {
  if (event.type === 'progress') console.log(`${event.stage} ${Math.round(100 * event.value)} %`)
}
const { outputs, seed } = await job.result()
const [output] = outputs
if (output === undefined) throw new Error(`${job.id}: completed without an output`)
// Its address is signed and opens for a quarter of an hour.
await writeFile('video.mp4', new Uint8Array(await (await fetch(output.url)).arrayBuffer()))
console.log(`video.mp4, seed ${seed}`)
