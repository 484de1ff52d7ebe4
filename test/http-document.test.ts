/**
 * docs/http.md as a reader follows it: every block in its order, word for word, against `npm start` with released models.
 */

import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../models/node/start/ports.ts'
import { root } from './sources.ts'
import { developmentKey, ended, launch, ready, type Started } from './started.ts'

const operatorToken = 'an-operator-token-of-this-test'
const hasCurl = (() => {
  try {
    execFileSync('curl', ['--version'])
    return true
  } catch {
    return false
  }
})()

let started: Started | undefined
let port: number
let folder: string
/** What the blocks of each heading printed. */
const told = new Map<string, string[]>()

beforeAll(async () => {
  if (!hasCurl) return
  port = await freePort(21_700)
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-document-'))
  await sharp({ create: { width: 64, height: 64, channels: 3, background: '#48c' } }).toFile(join(folder, 'first.png'))
  const environment = { DEVELOPMENT_KEY: developmentKey, OPERATOR_TOKEN: operatorToken }
  const nodePort = await freePort(21_705)
  started = await ready(launch({ port, nodePort, models: join(root, 'models'), environment }))
  const blocks = blocksOf(await readFile(join(root, 'docs', 'http.md'), 'utf8'))
  const mark = '@@ '
  const script = blocks.map(({ heading, text }) => `echo; echo '${mark}${heading}'\n${text}`).join('\n')
  const { stdout } = await promisify(execFile)('bash', ['-c', script], {
    cwd: folder,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      ...{ BASE: started.address, KEY: developmentKey, OPERATOR_TOKEN: operatorToken },
    },
    maxBuffer: 2 ** 26,
  })
  for (const part of stdout.split(`\n${mark}`).slice(1)) {
    const end = part.indexOf('\n')
    const heading = part.slice(0, end)
    told.set(heading, [...(told.get(heading) ?? []), part.slice(end + 1).trim()])
  }
}, 240_000)

afterAll(async () => {
  if (!hasCurl) return
  await ended(started, port)
  await rm(folder, { recursive: true, force: true })
}, 60_000)

interface Block {
  readonly heading: string
  readonly text: string
}

/** Those that speak HTTP: the start itself was made by this test, and the command line has tests of its own. */
function blocksOf(document: string): Block[] {
  return document
    .split(/^## /m)
    .slice(1)
    .flatMap((section) => {
      const heading = section.slice(0, section.indexOf('\n'))
      return [...section.matchAll(/^```sh\n(.*?)^```/gms)].map(([, text = '']) => ({ heading, text }))
    })
    .filter(({ text }) => text.includes('curl'))
}

const jsonOf = (text: string | undefined): Record<string, unknown> => JSON.parse(text ?? '')
/** Several answers, one after another. */
const jsonsOf = (text: string | undefined): Record<string, unknown>[] =>
  (text ?? '').replaceAll('}{', '}\n{').split('\n').map(jsonOf)
const numbers = (text: string): number[] => [...text.matchAll(/^id: (\d+)/gm)].map(([, number]) => Number(number))

describe.runIf(hasCurl)('docs/http.md, word for word,', () => {
  it('makes a video, which opens at its address and answers a range', async () => {
    const [job, , range = ''] = told.get('From a prompt to a video') ?? []
    expect(jsonOf(job)).toMatchObject({ status: 'completed', seed: 7 })
    expect((await readFile(join(folder, 'bird.mp4'))).subarray(4, 8).toString()).toBe('ftyp')
    expect(range).toMatch(/^HTTP\/1\.1 206[\s\S]*^content-range: bytes 0-99\//im)
  })

  it('is refused in a problem where it is strict, and quoted', () => {
    const [refusal, quote] = told.get('The request') ?? []
    expect(jsonOf(refusal)).toMatchObject({ status: 422, code: 'strict_mismatch' })
    expect(jsonOf(quote)).toMatchObject({ effective: { num_frames: 17 } })
  })

  it('hears a job to its end, and after a cut what came after the number it names', () => {
    const [whole = '', rest = ''] = told.get('Listening') ?? []
    expect(numbers(whole)[0]).toBe(1)
    expect(whole).toContain('"status":"completed"')
    expect(Math.min(...numbers(rest))).toBeGreaterThan(2)
    expect(numbers(rest).at(-1)).toBe(numbers(whole).at(-1))
    const [shown = ''] = told.get('What an app shows while it waits') ?? []
    expect(shown.split('\n').slice(-2)).toEqual(['output', 'status'])
  })

  it('runs in two places, and from what is like it', () => {
    const parts = told.get('A run in two places') ?? []
    expect(jsonOf(parts.at(-1))).toMatchObject({ status: 'completed', inference_source: 'hybrid' })
    expect(told.get('Like one before')?.at(-1)).toMatch(/status: 'similar',\s+job: 'vid_\w+',\s+score: 0\.\d+/)
  })

  it('is told what cannot be extended; ends and deletes a job', () => {
    expect(jsonOf(told.get('Going on')?.[0])).toMatchObject({ code: 'not_extendable' })
    const [answers = ''] = told.get('Stopping and deleting') ?? []
    expect(answers).toMatch(/"status":"completed"[\s\S]*HTTP\/1\.1 204/)
  })

  it('looks around, uploads a picture, and gets tokens, endpoints, keys and credit', () => {
    const [models, page, document] = jsonsOf(told.get('Looking around')?.[0])
    expect([models?.object, page?.object, document?.openapi]).toEqual(['list', 'list', '3.1.0'])
    expect(jsonOf(told.get('Media')?.[0])).toMatchObject({ status: 'ready' })
    expect(jsonOf(told.get('A browser')?.[0])).toMatchObject({ token: expect.stringMatching(/./) })
    expect(jsonOf(told.get('Webhooks')?.[0])).toMatchObject({ secret: expect.stringMatching(/^whsec_/) })
    const [key, keys, credit] = jsonsOf(told.get('The operator')?.[0])
    expect(key).toMatchObject({ tenant: 'acme', key: expect.stringMatching(/^zoe_/) })
    expect(JSON.stringify(keys)).toContain('backend')
    expect(JSON.stringify(credit)).toContain('25')
  })
})
