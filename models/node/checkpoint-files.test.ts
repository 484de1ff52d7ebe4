import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GenerationError } from '../../shared/errors.ts'
import { hostileFile, hostilePatience, hostileRuns, soundFile } from '../../test/hostile-files.ts'
import { readSafetensors } from '../weights/safetensors.ts'
import { openCheckpoints } from './checkpoint-files.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoint-files-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Opens a file and reads every tensor's bytes; the codes of refusals, or how many tensors there are. */
async function opened(bytes: Uint8Array): Promise<string | number> {
  const path = join(folder, 'weights.safetensors')
  await writeFile(path, bytes)
  try {
    const [checkpoint, ...more] = await openCheckpoints(path)
    if (checkpoint === undefined || more.length > 0) throw new Error('one file is one checkpoint')
    await using source = checkpoint
    const { entries } = source.headers[path] ?? { entries: new Map() }
    for (const { offset, length } of entries.values()) {
      const into = new Uint8Array(Math.min(length, 64))
      await source.read(path, offset + length - into.length, into)
      if (!Buffer.from(into).equals(bytes.subarray(offset + length - into.length, offset + length)))
        throw new Error('other bytes were read than the file has there')
    }
    return entries.size
  } catch (error) {
    if (error instanceof GenerationError) return error.code
    throw error
  }
}

const refused = (bytes: Uint8Array): boolean => {
  try {
    readSafetensors(bytes)
    return false
  } catch {
    return true
  }
}

describe('a weight file on disk', () => {
  it('is read tensor by tensor', async () => {
    expect(await opened(soundFile())).toBe(51)
  })

  it(
    'that lies is refused by a typed error, just where its bytes in memory are, and never read beyond its end',
    async () => {
      let count = 0
      await fc.assert(
        fc.asyncProperty(hostileFile, async (bytes) => {
          const said = await opened(bytes)
          if ((typeof said === 'string') !== refused(bytes)) throw new Error(`the disk says ${said}, memory does not`)
          if (typeof said === 'string') count++
        }),
        { numRuns: Math.ceil(hostileRuns / 20), seed: 22 },
      )
      expect(count).toBeGreaterThan(hostileRuns / 100)
      if (process.env.ZOETROPE_REPORT)
        process.stderr.write(`files: ${count} of ${Math.ceil(hostileRuns / 20)} refused\n`)
    },
    hostilePatience,
  )
})
