import { describe, expect, it } from 'vitest'
import { openStorage } from './storage.ts'

describe('a storage', () => {
  it('keeps what a page of before has put into it', async () => {
    const name = crypto.randomUUID()
    const before = indexedDB.open(name, 2)
    before.onupgradeneeded = () => {
      const clips = before.result.createObjectStore('clips', { keyPath: 'id' })
      clips.put({ id: 'old' })
    }
    await new Promise((resolve) => before.addEventListener('success', resolve))
    before.result.close()
    const storage = await openStorage(name)
    await storage.put('runs', { id: 'new' })
    expect([await storage.all('clips'), await storage.all('runs')]).toEqual([[{ id: 'old' }], [{ id: 'new' }]])
  })

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
