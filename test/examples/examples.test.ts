import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { root } from '../sources.ts'

/** What the parser of its language says of each file. There is no compiler of either here. */
async function parsed(...files: readonly string[]): Promise<string[]> {
  const words = ['--liftoff-only', join(root, 'test/examples/parse.mjs'), ...files]
  const { stdout } = await promisify(execFile)(process.execPath, words)
  return stdout.trim().split('\n')
}

it.each(['Service.swift', 'Service.kt'])('examples/%s is a whole text of its language', async (name) => {
  const file = join(root, 'examples', name)
  expect(await parsed(file)).toEqual(['whole'])
  const folder = await mkdtemp(join(tmpdir(), 'zoetrope-examples-'))
  try {
    // The first closing parenthesis is left out.
    const broken = join(folder, name)
    await writeFile(broken, (await readFile(file, 'utf8')).replace(/\)(?=[^/]*$)/m, ''))
    expect(await parsed(broken)).toEqual(['broken'])
  } finally {
    await rm(folder, { recursive: true })
  }
})
