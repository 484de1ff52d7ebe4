import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadCheckpoint, saveCheckpoint } from './checkpoints.ts'

let place = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'zoetrope-checkpoints-'))
})
afterAll(() => rm(place, { recursive: true }))

const checkpoint = { step: 7, state: { a: Float32Array.of(1, 2, 3) }, notes: '{"facts":{}}' }

describe('a checkpoint', () => {
  it('comes back as it was saved, and is none where there is no file', async () => {
    const path = join(place, 'whole')
    expect(await loadCheckpoint(path)).toBeUndefined()
    await saveCheckpoint(path, checkpoint)
    expect(await loadCheckpoint(path)).toEqual(checkpoint)
  })

  it.each([0, 5, 60, -1])('cut at byte %i is refused by its name, and left as it is', async (end) => {
    const path = join(place, 'cut')
    await saveCheckpoint(path, checkpoint)
    const left = (await readFile(path)).subarray(0, end)
    await writeFile(path, left)
    await expect(loadCheckpoint(path)).rejects.toMatchObject({
      code: 'weights_integrity',
      message: expect.stringMatching(new RegExp(`^${path}: .*; move it away to begin the run anew$`)),
    })
    expect(await readFile(path)).toEqual(left)
  })
})
