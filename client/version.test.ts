import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../test/sources.ts'
import { runtimeFiles, runtimeVersion } from './runtime-files.ts'
import { zoetropeVersion } from './version.ts'

const json = (file: string) => JSON.parse(readFileSync(join(root, file), 'utf8'))

it('receipts name the version of package.json', () => {
  expect(zoetropeVersion).toBe(json('package.json').version)
})

it('the runtime is the version that is installed, and has every file that a browser may be given', () => {
  expect(json('node_modules/onnxruntime-web/package.json').version).toBe(runtimeVersion)
  for (const file of Object.values(runtimeFiles).flatMap((build) => Object.values(build)))
    expect(readFileSync(join(root, 'node_modules/onnxruntime-web/dist', file)).length).toBeGreaterThan(10_000)
})
