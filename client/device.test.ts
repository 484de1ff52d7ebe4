import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { probeDevice } from './device.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const estimating = (estimate: () => Promise<StorageEstimate>) =>
  vi.stubGlobal('navigator', { onLine: true, storage: { estimate } })

describe('what a browser says of itself', () => {
  it('holds the room that its storage has', async () => {
    estimating(async () => ({ quota: 100, usage: 40 }))
    expect(await probeDevice()).toMatchObject({ adapter_class: 'none', storage_free_bytes: 60, online: true })
    expect(vi.getTimerCount()).toBe(0)
  })

  it('does not wait for a storage that does not answer: a write will tell', async () => {
    estimating(() => new Promise(() => {}))
    const probed = probeDevice()
    await vi.advanceTimersByTimeAsync(2000)
    expect(await probed).toMatchObject({ storage_free_bytes: Number.MAX_SAFE_INTEGER })
  })

  it('is without room where the storage refuses to answer', async () => {
    estimating(() => Promise.reject(new DOMException('no', 'TypeError')))
    expect(await probeDevice()).toMatchObject({ storage_free_bytes: 0 })
  })
})
