import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { GenerationError } from '../shared/errors.ts'
import type { Engine } from './engine.ts'
import type { Answer, FromPage } from './protocol.ts'

const scene = vi.hoisted(() => ({ engine: undefined as unknown }))
vi.mock('./engine.ts', () => ({ createEngine: () => scene.engine }))

const options = { provider: 'webgpu', runtimeUrl: '/', modelsUrl: '/', threads: 1, manifestKeys: [] } as const

let post: (data: FromPage) => void
const answers: Answer[] = []
let gpu: PromiseWithResolvers<GenerationError>
let waits: number

/** An engine whose runs never end, and which counts who waits for its GPU's loss. */
function endless(): Partial<Engine> {
  gpu = Promise.withResolvers()
  waits = 0
  const lost = {
    // biome-ignore lint/suspicious/noThenProperty: what the thread waits for is counted.
    then: (...words: Parameters<Promise<GenerationError>['then']>) => {
      waits += 1
      return gpu.promise.then(...words)
    },
  }
  return {
    lost: lost as Engine['lost'],
    rehearse: () => new Promise(() => {}),
    models: async () => [],
  }
}

beforeAll(async () => {
  vi.stubGlobal('addEventListener', (_: string, hear: (event: { data: FromPage }) => void) => {
    post = (data) => hear({ data })
  })
  vi.stubGlobal('postMessage', (answer: Answer) => answers.push(answer))
  await import('./thread.ts')
})

beforeEach(() => {
  answers.length = 0
  scene.engine = endless()
  post({ kind: 'open', options })
})

describe("the engine's end of the line", () => {
  it('waits for the loss of the GPU once, however many calls it serves', async () => {
    for (let id = 0; id < 20; id++) post({ id, kind: 'models' })
    await vi.waitFor(() => expect(answers).toHaveLength(20))
    expect(answers.every(({ kind }) => kind === 'result')).toBe(true)
    expect(waits).toBe(1)
  })

  it('fails what runs when the GPU is lost, and what comes after it', async () => {
    post({ id: 1, kind: 'rehearse', model: 'toy' })
    post({ id: 2, kind: 'rehearse', model: 'toy' })
    gpu.resolve(new GenerationError('device_lost', 'the GPU is gone'))
    const failure = { kind: 'failure', code: 'device_lost', message: 'the GPU is gone' }
    await vi.waitFor(() => expect(answers).toEqual([1, 2].map((id) => ({ id, ...failure }))))
    post({ id: 3, kind: 'models' })
    await vi.waitFor(() => expect(answers.at(-1)).toEqual({ id: 3, ...failure }))
  })
})
