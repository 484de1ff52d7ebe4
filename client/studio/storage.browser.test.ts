import { describe, expect, it } from 'vitest'
import { openStorage } from './storage.ts'

describe('a storage', () => {
  it('stands in the way of no later version of its page', async () => {
    const name = crypto.randomUUID()
    const storage = await openStorage(name)
    await storage.put('letters', { key: 'kept' })
    const { promise, resolve } = Promise.withResolvers<string>()
    const later = indexedDB.open(name, 1000)
    for (const kind of ['success', 'blocked', 'error']) later.addEventListener(kind, () => resolve(kind))
    expect(await promise).toBe('success')
    later.result.close()
    // What this page would write now is of a form that is no more: it is refused, not lost.
    await expect(storage.put('letters', { key: 'late' })).rejects.toThrow(/reload this page/)
  })
})
