import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gaussian } from '../shared/random.ts'
import { type Checkpoint, checkpointKey, checkpointStore, decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts'
import { memoryShelf } from './shelf.ts'

const madeAt = (step: number): Checkpoint => ({
  step,
  latents: gaussian(step, 0, 0, 50),
  estimate: gaussian(step, 1, 0, 50),
})

describe('checkpoints', () => {
  it('come back as they were, the furthest first', async () => {
    const store = checkpointStore(memoryShelf())
    expect(await store.load('run')).toBeUndefined()
    for (const step of [1, 2, 3]) await store.save('run', madeAt(step))
    expect(await store.load('run')).toEqual(madeAt(3))
    await store.remove('run')
    expect(await store.load('run')).toBeUndefined()
  })

  it('fall back to the step before when the last slot is torn anywhere', async () => {
    const whole = await encodeCheckpoint(madeAt(3))
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (place, mask) => {
        const shelf = memoryShelf()
        const store = checkpointStore(shelf)
        await store.save('run', madeAt(2))
        await store.save('run', madeAt(3))
        using slot = await shelf.open('run.b')
        slot.write(Uint8Array.of((whole[place] as number) ^ mask), place)
        expect(await store.load('run')).toEqual(madeAt(2))
      }),
      { seed: 6, numRuns: 60 },
    )
  })

  it('are refused when cut short at any length', async () => {
    const whole = await encodeCheckpoint(madeAt(1))
    for (let length = 0; length < whole.length; length += 7)
      expect(await decodeCheckpoint(whole.subarray(0, length))).toBeUndefined()
  })
})

describe('the key of a checkpoint', () => {
  const request = {
    model: 'm',
    revision: 'r',
    prompt: 'a fox',
    negative_prompt: '',
    num_frames: 5,
    fps: 8,
    width: 64,
    height: 64,
    num_inference_steps: 4,
    guidance_scale: 1,
    scheduler: 'ddim',
    seed: 1,
    n: 1,
    output_format: 'mp4' as const,
  }
  const runnable = { hashes: ['a', 'b', 'c'], schedule: 'fastwan-dmd' }

  it('changes with any weight file, the plan and the request, and not with the format', async () => {
    const key = await checkpointKey(runnable, request)
    expect(await checkpointKey(runnable, { ...request, output_format: 'gif' })).toBe(key)
    const others = await Promise.all([
      checkpointKey({ ...runnable, hashes: ['a', 'b', 'd'] }, request),
      checkpointKey({ ...runnable, hashes: ['a', 'b'] }, request),
      checkpointKey({ ...runnable, schedule: 'self-forcing' }, request),
      checkpointKey(runnable, { ...request, seed: 2 }),
    ])
    expect(new Set([key, ...others]).size).toBe(5)
  })
})
