import { describe, expect, it } from 'vitest'
import { renderFilms } from '../train/batches.ts'
import type { FilmRequest } from './batch-worker.ts'
import { filmQueue } from './batches.ts'

/** Uneven, so that a worker that is asked later is done sooner. */
const request = (n: number): FilmRequest => [100 + n, n % 2 === 0 ? 6 : 1, 5, 16, 4]

describe('a queue of films', () => {
  it('gives what was asked for in order, whichever worker is done first', async () => {
    await using queue = filmQueue(request)
    for (let n = 0; n < 12; n++) {
      const films = await queue.next()
      expect(films.bytes).toEqual(renderFilms(...request(n)).bytes)
    }
  })

  it('passes on why a film could not be rendered, now and later', async () => {
    await using queue = filmQueue(() => [1, 1, -5, 16, 4])
    for (let n = 0; n < 6; n++) await expect(queue.next()).rejects.toThrow('Invalid')
  })
})
