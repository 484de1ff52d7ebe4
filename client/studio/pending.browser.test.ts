import { describe, expect, it } from 'vitest'
import { abandonedRun, keepRun, onLetGo } from './pending.ts'
import { openStorage, type Storage } from './storage.ts'

const begun = { request: { prompt: 'a red boat', seed: 7 } }
const open = () => openStorage(crypto.randomUUID())

/** A storage that takes its time to remove, as one does while its disk is busy. */
async function slowToRemove(): Promise<Storage> {
  const storage = await open()
  const remove: Storage['remove'] = async (store, key) => {
    await new Promise((resolve) => setTimeout(resolve, 200))
    await storage.remove(store, key)
  }
  return { ...storage, remove }
}

describe('a run', () => {
  it('that ends while another waits for it is not begun once more', async () => {
    const storage = await slowToRemove()
    const kept = await keepRun(storage, begun)
    const waiting = abandonedRun(storage)
    await kept.end()
    expect(await waiting).toBeUndefined()
  })

  it('that was left is taken up by one alone, stays kept meanwhile, and is taken up by nobody after its end', async () => {
    const storage = await open()
    await storage.put('runs', { id: 'left', ...begun })
    const [one, two] = await Promise.all([abandonedRun(storage), abandonedRun(storage)])
    expect([one, two].map((each) => each?.request).filter(Boolean)).toEqual([begun.request])
    expect(await storage.all('runs')).toHaveLength(1)
    await (one ?? two)?.end()
    expect(await storage.all('runs')).toEqual([])
    expect(await abandonedRun(storage)).toBeUndefined()
  })

  it('that a full storage does not take goes on unkept', async () => {
    const storage = await open()
    const kept = await keepRun({ ...storage, put: () => Promise.reject(new Error('full')) }, begun)
    await kept.end()
    expect(await storage.all('runs')).toEqual([])
  })

  it('is told of as long as it is left and kept', async () => {
    const storage = await open()
    await storage.put('runs', { id: 'left', ...begun })
    const { promise, resolve } = Promise.withResolvers<void>()
    await onLetGo(storage, resolve)
    await promise
    await storage.remove('runs', 'left')
  })
})
