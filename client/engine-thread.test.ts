import { describe, expect, it } from 'vitest'
import { engineThread, type Patience } from './engine-thread.ts'
import type { EngineOptions } from './house.ts'
import type { Answer, Call, FromPage } from './protocol.ts'

const options: EngineOptions = { provider: 'wasm', runtimeUrl: '/', modelsUrl: '/', threads: 1, manifestKeys: [] }
const patience: Patience = { start: 500, step: 250, stop: 50 }
const forever = () => new AbortController().signal

interface Spawned {
  readonly heard: Call[]
  readonly answer: (answer: Answer) => void
  readonly break: (message: string) => void
  ended: boolean
}

/** Threads that do what a test says to each call. */
function threads(act: (call: Call, thread: Spawned, which: number) => void) {
  const spawned: Spawned[] = []
  const spawn = () => {
    const line = new EventTarget()
    const which = spawned.length
    const thread: Spawned = {
      heard: [],
      answer: (data) => thread.ended || line.dispatchEvent(new MessageEvent('message', { data })),
      break: (message) => line.dispatchEvent(Object.assign(new Event('error'), { message })),
      ended: false,
    }
    spawned.push(thread)
    return Object.assign(line, {
      postMessage: (call: FromPage) => {
        if (call.kind === 'open' || call.kind === 'abort') return
        thread.heard.push(call)
        queueMicrotask(() => act(call, thread, which))
      },
      terminate: () => {
        thread.ended = true
      },
    }) as unknown as Worker
  }
  return { spawned, engine: engineThread(options, spawn, patience) }
}

const prefetched = (engine: ReturnType<typeof threads>['engine'], signal = forever()) =>
  engine.prefetch('toy', signal, () => {})

describe('a thread of the engine', () => {
  it('that says nothing is ended with all its calls, told by name, and the next call has a fresh one', async () => {
    const { spawned, engine } = threads(({ id }, thread, which) => {
      if (which > 0) thread.answer({ kind: 'result', id, value: true })
    })
    const [one, other] = [prefetched(engine), engine.rehearse('toy', forever())]
    const lost = { code: 'device_lost', message: 'engine: no sign of life for 0.5 s; its thread was ended' }
    await expect(one).rejects.toMatchObject(lost)
    await expect(other).rejects.toMatchObject(lost)
    expect([spawned.length, spawned[0]?.ended]).toEqual([1, true])
    expect(await prefetched(engine)).toBe(true)
    expect([spawned.length, spawned[1]?.ended]).toEqual([2, false])
  })

  it('that tells of one call is given time for the others', async () => {
    const { spawned, engine } = threads(async ({ id, kind }, thread) => {
      if (kind === 'rehearse') return
      for (let piece = 1; piece <= 4; piece++) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        thread.answer({ kind: 'received', id, received: piece, total: 4 })
      }
      for (const call of thread.heard) thread.answer({ kind: 'result', id: call.id, value: true })
    })
    await Promise.all([engine.rehearse('toy', forever()), prefetched(engine)])
    expect([spawned.length, spawned[0]?.ended]).toEqual([1, false])
  })

  it('that shows life while it rehearses is not ended', async () => {
    const { spawned, engine } = threads(async ({ id }, thread) => {
      for (let sign = 0; sign < 4; sign++) {
        await new Promise((resolve) => setTimeout(resolve, 200))
        thread.answer({ kind: 'alive', id })
      }
      thread.answer({ kind: 'result', id, value: undefined })
    })
    await engine.rehearse('toy', forever())
    expect(spawned[0]?.ended).toBe(false)
  })

  it('whose GPU is gone is ended with all its calls, and the next call has a fresh one', async () => {
    const { spawned, engine } = threads(({ id, kind }, thread, which) => {
      if (which > 0) thread.answer({ kind: 'result', id, value: true })
      else if (kind === 'rehearse') thread.answer({ kind: 'failure', id, code: 'device_lost', message: 'gone' })
    })
    const [one, other] = [prefetched(engine), engine.rehearse('toy', forever())]
    await expect(other).rejects.toMatchObject({ code: 'device_lost', message: 'gone' })
    await expect(one).rejects.toMatchObject({ code: 'device_lost', message: 'gone' })
    expect(await prefetched(engine)).toBe(true)
    expect(spawned.map(({ ended }) => ended)).toEqual([true, false])
  })

  it('has a moment to stop by itself when a call is given up, and is ended then', async () => {
    const { spawned, engine } = threads(() => {})
    const stop = new AbortController()
    const call = prefetched(engine, stop.signal)
    stop.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    expect(spawned[0]?.ended).toBe(false)
    await expect.poll(() => spawned[0]?.ended).toBe(true)
  })

  it('has that moment and no more, whatever it tells in the meantime', async () => {
    const { spawned, engine } = threads(({ id }, thread) => {
      const news = setInterval(() => {
        if (thread.ended) clearInterval(news)
        for (const call of [id, 0]) thread.answer({ kind: 'received', id: call, received: 1, total: 9 })
      }, 10)
    })
    const stop = new AbortController()
    const call = prefetched(engine, stop.signal)
    const other = prefetched(engine)
    await new Promise((resolve) => setTimeout(resolve, 30))
    stop.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    await expect(other).rejects.toMatchObject({ code: 'aborted' })
    expect(spawned[0]?.ended).toBe(true)
  })

  it('that fails takes its calls with it and says why', async () => {
    const { engine } = threads((_, thread) => thread.break('out of memory'))
    await expect(prefetched(engine)).rejects.toThrow('engine: its thread failed (out of memory)')
  })
})

describe('the list of models', () => {
  it('is asked once more of a fresh thread where the first hangs', async () => {
    const { spawned, engine } = threads(({ id }, thread, which) => {
      if (which > 0) thread.answer({ kind: 'result', id, value: [] })
    })
    expect(await engine.models(forever())).toEqual([])
    expect(spawned.map(({ ended }) => ended)).toEqual([true, false])
  })

  it('is asked of a fresh thread once the GPU of the first is gone', async () => {
    const { spawned, engine } = threads(({ id }, thread, which) => {
      const gone = { kind: 'failure', id, code: 'device_lost', message: 'WebGPU: the device was lost' } as const
      thread.answer(which === 0 ? gone : { kind: 'result', id, value: [] })
    })
    expect(await engine.models(forever())).toEqual([])
    expect(spawned.map(({ ended }) => ended)).toEqual([true, false])
  })

  it('is not asked a third time, nor again where it was refused or given up', async () => {
    const silent = threads(() => {})
    await expect(silent.engine.models(forever())).rejects.toMatchObject({ code: 'device_lost' })
    expect(silent.spawned.length).toBe(2)
    const refused = threads(({ id }, thread) =>
      thread.answer({ kind: 'failure', id, code: 'not_found', message: 'models: got none' }),
    )
    await expect(refused.engine.models(forever())).rejects.toThrow('models: got none')
    expect(refused.spawned[0]?.heard.length).toBe(1)
    const stop = new AbortController()
    const left = threads(() => {})
    const list = left.engine.models(stop.signal)
    stop.abort(new Error('enough'))
    await expect(list).rejects.toThrow('enough')
    expect(left.spawned.length).toBe(1)
  })
})
