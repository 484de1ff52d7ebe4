/** What a command prints, kept from the terminal: for tests that call the command line in their own process. */

import { afterEach, beforeEach, vi } from 'vitest'

export interface Printed {
  /** On standard output. */
  emitted: string
  /** On standard error. */
  said: string
}

/** Catches what each test of the block prints; call it where the block's other hooks are. */
export function printed(): Printed {
  const texts: Printed = { emitted: '', said: '' }
  const caught = (stream: NodeJS.WriteStream, name: keyof Printed) =>
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      texts[name] += text
      return true
    })
  beforeEach(() => {
    Object.assign(texts, { emitted: '', said: '' })
    caught(process.stdout, 'emitted')
    caught(process.stderr, 'said')
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })
  return texts
}
