import { describe, expect, it } from 'vitest'
import { perseverance } from './perseverance.ts'

const never = new Promise<never>(() => {})
/** Asks for what these give, one after another; what came too late is kept. */
function asking(...answers: (() => Promise<string>)[]) {
  const late: string[] = []
  let attempts = 0
  const answer = perseverance({
    attempt: () => (answers[attempts++] as () => Promise<string>)(),
    discard: (each) => late.push(each),
    patience: 20,
    pauses: [1, 2],
  })
  return { answer, late, attempts: () => attempts }
}
const given = (answer: string) => async () => answer
const failing = (reason: string) => () => Promise.reject(new Error(reason))

describe('what is asked with perseverance', () => {
  it('is asked once where it is answered', async () => {
    const { answer, attempts } = asking(given('one'))
    expect([await answer, attempts()]).toEqual(['one', 1])
  })

  it('is asked again where it failed, and where nothing was answered', async () => {
    const { answer, attempts, late } = asking(failing('busy'), () => never, given('three'))
    expect([await answer, attempts()]).toEqual(['three', 3])
    expect(late).toEqual([])
  })

  it('is taken from whichever attempt is answered first; later ones are discarded', async () => {
    const slow = Promise.withResolvers<string>()
    const second = Promise.withResolvers<string>()
    const { answer, attempts, late } = asking(
      () => slow.promise,
      () => {
        slow.resolve('one')
        return second.promise
      },
    )
    expect([await answer, attempts()]).toEqual(['one', 2])
    second.resolve('two')
    await expect.poll(() => late).toEqual(['two'])
  })

  it('fails as the last attempt did, and discards what comes after it was given up', async () => {
    const slow = Promise.withResolvers<string>()
    const { answer, attempts, late } = asking(() => slow.promise, failing('first'), failing('last'))
    await expect(answer).rejects.toThrow('last')
    expect(attempts()).toBe(3)
    slow.resolve('one')
    await expect.poll(() => late).toEqual(['one'])
  })

  it('says so where nothing was ever answered', async () => {
    await expect(asking(...Array(3).fill(() => never)).answer).rejects.toThrow('nothing was answered within 20 ms')
  })
})
