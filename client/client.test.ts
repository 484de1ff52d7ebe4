import { describe, expect, it } from 'vitest'
import { deviceHere, threadsHere } from '../test/engine-here.ts'
import { clientOver } from './client.ts'
import type { EngineThread } from './engine-thread.ts'

/** A client whose engine notes what it is asked for; a rehearsal does as told. */
function asked(rehearsal: (signal: AbortSignal) => Promise<void> = async () => {}) {
  const calls: string[] = []
  const thread: Partial<EngineThread> = {
    prefetch: async (model) => {
      calls.push(`prefetch ${model}`)
      return true
    },
    rehearse: async (model, signal) => {
      calls.push(`rehearse ${model}`)
      await rehearsal(signal)
    },
  }
  const client = clientOver({
    threads: threadsHere(thread as EngineThread),
    service: undefined,
    probe: deviceHere,
    inferenceMode: 'only_on_device',
  })
  return { calls, prefetch: client.models.prefetch }
}

describe('fetching a model ahead', () => {
  it('rehearses it, too, unless that is declined', async () => {
    const { calls, prefetch } = asked()
    expect(await prefetch('toy')).toEqual({ kept: true })
    expect(calls).toEqual(['prefetch toy', 'rehearse toy'])
    expect(await prefetch('toy', { rehearse: false })).toEqual({ kept: true })
    expect(calls).toEqual(['prefetch toy', 'rehearse toy', 'prefetch toy'])
  })

  it('is done though the rehearsal fails, but not where the caller gave it up', async () => {
    const failing = asked(() => Promise.reject(new Error('the GPU is gone')))
    expect(await failing.prefetch('toy')).toEqual({ kept: true })
    const stop = new AbortController()
    const stopped = asked(async (signal) => {
      stop.abort(new Error('enough'))
      signal.throwIfAborted()
    })
    await expect(stopped.prefetch('toy', { signal: stop.signal })).rejects.toThrow('enough')
  })
})
