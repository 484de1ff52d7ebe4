import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { freePort } from './ports.ts'
import { declaredFolder, studioAssets } from './studio.ts'

const counting = `
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
mkdirSync('client/studio/dist', { recursive: true })
writeFileSync('client/studio/dist/index.html', 'page')
appendFileSync('builds', 'x')
`

/** A package with a studio that counts how often it is built. */
async function checkout(configuration = '', scripts: object = { 'build:studio': 'node build.mjs' }) {
  const root = await mkdtemp(join(tmpdir(), 'zoetrope-studio-'))
  onTestFinished(() => rm(root, { recursive: true }))
  await mkdir(join(root, 'client/studio'), { recursive: true })
  await writeFile(join(root, 'client/studio/page.ts'), '')
  await writeFile(join(root, 'build.mjs'), counting)
  await writeFile(join(root, 'wrangler.toml'), configuration)
  await writeFile(join(root, 'package.json'), JSON.stringify({ scripts }))
  const said: string[] = []
  const builds = () =>
    readFile(join(root, 'builds'), 'utf8').then(
      (text) => text.length,
      () => 0,
    )
  return { root, said, builds, assets: () => studioAssets(root, (line) => said.push(line)) }
}

describe('the studio', () => {
  it('is built where it is missing, kept while it is fresh, built again when a source is younger', async () => {
    const { root, builds, assets } = await checkout()
    expect(await assets()).toEqual({ words: ['--assets', 'client/studio/dist'] })
    await assets()
    expect(await builds()).toBe(1)
    const later = new Date(Date.now() + 10_000)
    await utimes(join(root, 'client/studio/page.ts'), later, later)
    await assets()
    expect(await builds()).toBe(2)
  })

  it('that cannot be built is said, and the rest goes on', async () => {
    const { said, assets } = await checkout('', { 'build:studio': 'node -e "process.exit(3)"' })
    expect(await assets()).toEqual({ words: [] })
    expect(said.at(-1)).toContain('could not be built (3): there is no page, only the API')
  })

  it('of a package without one is nothing, but a folder that wrangler insists on is made', async () => {
    expect(await (await checkout('', {})).assets()).toEqual({ words: [] })
    const { root, assets } = await checkout('[assets]\ndirectory = "client/out"\n', {})
    expect(await assets()).toEqual({ words: [] })
    expect(await readFile(join(root, 'client/out/x')).catch((error) => error.code)).toBe('ENOENT')
  })

  it('is where wrangler.toml says', () => {
    expect(declaredFolder('name = "a"\n[assets]\nbinding = "A"\ndirectory = "./d"\n[vars]\n')).toBe('./d')
    expect(declaredFolder('assets = { directory = "d", binding = "A" }\n')).toBe('d')
    expect(declaredFolder('[[r2_buckets]]\ndirectory = "d"\n')).toBeUndefined()
  })
})

describe('a port', () => {
  it('that is taken is left to its owner', async () => {
    const owner = createServer().listen(0, '127.0.0.1')
    await once(owner, 'listening')
    const { port } = owner.address() as { port: number }
    expect(await freePort(port)).not.toBe(port)
    owner.close()
    await once(owner, 'close')
    expect(await freePort(port)).toBe(port)
  })
})
