/**
 * What a page pays for the SDK before it makes its first video.
 */

import { gzipSync } from 'node:zlib'
import { build, type Rollup } from 'vite'
import { beforeAll, describe, expect, it } from 'vitest'
import { sdkConfig } from '../client/build.ts'

type Bundle = Rollup.RollupOutput

let bundle: Bundle['output']

beforeAll(async () => {
  const { build: settings, ...config } = sdkConfig(['index'])
  const built = await build({ ...config, configFile: false, logLevel: 'silent', build: { ...settings, write: false } })
  bundle = (Array.isArray(built) ? built : [built]).flatMap((each) => (each as Bundle).output) as Bundle['output']
  // A build takes seconds, more of them on a busy machine.
}, 300_000)

describe('the SDK', () => {
  it('is at most 40 KB compressed, without the engine', () => {
    const entry = bundle.find((file) => file.type === 'chunk' && file.isEntry)
    if (entry?.type !== 'chunk') throw new Error('the build made no entry')
    // What an entry imports at once it costs at once.
    expect(entry.imports).toEqual([])
    expect(gzipSync(entry.code, { level: 9 }).length).toBeLessThanOrEqual(40_000)
    expect(entry.code).not.toContain('VideoSampleSource')
    expect(entry.code).not.toContain('LayerNormalization')
  })

  it('has the engine as a file of its own', () => {
    const code = (file: Bundle['output'][number]) => String(file.type === 'chunk' ? file.code : file.source)
    const engine = bundle.filter((file) => /thread/.test(file.fileName) || code(file).includes('LayerNormalization'))
    expect(engine.length).toBeGreaterThan(0)
  })
})
