import { describe, expect, it } from 'vitest'
import type { ModelCard } from '../shared/manifest.ts'
import { type House, type Listener, type Seated, seat } from './house.ts'

const card = { id: 'toy', revision: 'r1' } as ModelCard
const signal = new AbortController().signal

/** A house whose model is still on its way. */
function onTheWay() {
  const { promise: done, resolve, reject } = Promise.withResolvers<Seated>()
  const listeners = new Set<Listener>()
  const house = { seating: { id: 'toy@r1', listeners, done } } as unknown as House
  const heard: string[] = []
  const ask = (name: string) =>
    seat(house, card, signal, (received, total) => heard.push(`${name} ${received}/${total}`))
  return { resolve, reject, listeners, heard, ask }
}

describe('a model that is asked for', () => {
  it('tells all who wait for it how far it is, and holds none of them once it sits', async () => {
    const { resolve, listeners, heard, ask } = onTheWay()
    const asked = [ask('one'), ask('other')]
    for (const listener of listeners) listener(1, 2)
    expect(heard).toEqual(['one 1/2', 'other 1/2'])
    resolve({} as Seated)
    await Promise.all(asked)
    expect(listeners.size).toBe(0)
    for (let n = 0; n < 5; n++) await ask('later')
    expect(listeners.size).toBe(0)
  })

  it('holds none of them where it fails', async () => {
    const { reject, listeners, ask } = onTheWay()
    const asked = ask('one')
    reject(new Error('offline'))
    await expect(asked).rejects.toThrow('offline')
    expect(listeners.size).toBe(0)
  })
})
