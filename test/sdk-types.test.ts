/**
 * What an app's compiler sees of the SDK: the declarations as they are packed, under the package's own exports.
 */

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from './sources.ts'

const settings = {
  compilerOptions: {
    strict: true,
    noEmit: true,
    module: 'esnext',
    moduleResolution: 'bundler',
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable', 'dom', 'dom.iterable'],
    types: [],
    jsx: 'react-jsx',
  },
  include: ['src'],
}

let app: string

const tsc = (...words: string[]) =>
  promisify(execFile)(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), ...words], {
    cwd: app,
  }).then(
    ({ stdout }) => stdout,
    ({ stdout }: { stdout: string }) => stdout,
  )

beforeAll(async () => {
  app = await mkdtemp(join(tmpdir(), 'zoetrope-app-'))
  const packed = join(app, 'node_modules', 'zoetrope')
  await mkdir(join(app, 'src'), { recursive: true })
  await mkdir(packed, { recursive: true })
  expect(await tsc('-p', join(root, 'client/tsconfig.declarations.json'), '--outDir', join(packed, 'dist/types'))).toBe(
    '',
  )
  await cp(join(root, 'package.json'), join(packed, 'package.json'))
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  // What the AI SDK's provider and React's components are typed by is theirs; an app that uses them has it.
  const others = ['@ai-sdk/provider', '@types/react', 'csstype']
  for (const name of [...Object.keys(dependencies), ...others]) {
    const place = join(app, 'node_modules', name)
    await mkdir(dirname(place), { recursive: true })
    await symlink(join(root, 'node_modules', name), place)
  }
  await writeFile(join(app, 'tsconfig.json'), JSON.stringify(settings))
}, 300_000)

afterAll(() => rm(app, { recursive: true, force: true }))

/** What the compiler says of an app with these files. */
async function compiled(files: Readonly<Record<string, string>>): Promise<string> {
  await rm(join(app, 'src'), { recursive: true })
  await mkdir(join(app, 'src'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(app, 'src', name), text)
  return tsc('-p', '.')
}

describe("import from 'zoetrope/client'", { timeout: 300_000 }, () => {
  it('gives an app the types of the SDK, its webhook, its element and its AI SDK provider', async () => {
    const said = await compiled({
      'app.ts': `
import { createClient, GenerationError, type ClientEvent, type Route } from 'zoetrope/client'
import { verifyWebhook } from 'zoetrope/client/webhook'
import { ZoetropeVideo } from 'zoetrope/client/video-element'
import * as provider from 'zoetrope/client/ai-sdk'
const zoetrope = createClient({ baseUrl: 'https://example.org', tokenProvider: async () => 't' })
const job = await zoetrope.videos.create({ prompt: 'a fox', seed: 0, negativePrompt: 'snow', n: 2 })
for await (const event of job.events()) { const each: ClientEvent = event; if (each.type === 'progress') each.value.toFixed() }
const url: string | undefined = (await job.result()).outputs[0]?.url
const route: Route = await zoetrope.videos.route({ prompt: 'a fox' })
export { url, route, verifyWebhook, ZoetropeVideo, provider, GenerationError }
`,
    })
    expect(said).toBe('')
  })

  it.each([
    ['an option nobody knows', "createClient({ baseURL: 'https://example.org' })", 'baseURL'],
    ['a request of a wrong kind', "createClient().videos.create({ prompt: 'a fox', seed: 'seven' })", 'seed|string'],
    [
      'a status that is none',
      "(await (await createClient().videos.create({})).result()).status === 'finished'",
      'finished',
    ],
  ])('lets the compiler refuse %s', async (_what, code, named) => {
    const said = await compiled({ 'app.ts': `import { createClient } from 'zoetrope/client'\n${code}\nexport {}\n` })
    expect(said).toMatch(new RegExp(`error TS\\d+: .*(${named})`))
  })

  it('compiles the React example', async () => {
    const example = await readFile(join(root, 'examples', 'react.tsx'), 'utf8')
    expect(await compiled({ 'react.tsx': example })).toBe('')
    expect(await compiled({ 'react.tsx': example.replace('event.value', 'event.valu') })).toContain("'valu'")
  })
})
