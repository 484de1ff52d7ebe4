/**
 * Versions of this package and of the runtimes it runs on, for receipts.
 */

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'

interface PackageFile {
  readonly version: string
}

/** This package's version; the file lies two folders up in a checkout and three in a build. */
export async function zoetropeVersion(): Promise<string> {
  for (const place of ['../../package.json', '../../../package.json']) {
    const text = await readFile(new URL(place, import.meta.url), 'utf8').catch(() => undefined)
    if (text !== undefined) return (JSON.parse(text) as PackageFile).version
  }
  throw new Error('package.json: is in neither of the places where it belongs; install the package again')
}

export async function runtimeVersion(name: string): Promise<string> {
  const path = createRequire(import.meta.url).resolve(`${name}/package.json`)
  return (JSON.parse(await readFile(path, 'utf8')) as PackageFile).version
}
