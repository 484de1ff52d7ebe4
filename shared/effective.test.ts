import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { testCard } from '../test/edge-settings.ts'
import { type CatalogModel, catalogModelOf, noParameters } from './catalog.ts'
import { canonicalForm, contentKey, type KeyContext } from './content-key.ts'
import { type EffectiveVideo, resolveRequest } from './effective.ts'
import { effectiveRequest } from './generation.ts'
import type { LatentFacts } from './handoff.ts'
import { readCard } from './manifest.ts'
import { parseRequest } from './request.ts'

const own = catalogModelOf(readCard(testCard))
const inSeconds: CatalogModel = {
  ...own,
  id: 'clips',
  parameters: {
    ...noParameters,
    duration: { values: [5, 10], default: 5 },
    fps: { values: [24], default: 24 },
    size: { values: ['1280x720', '720x1280', '960x960'], default: '1280x720' },
  },
}
const resolve = (request: object, model = own) =>
  resolveRequest(parseRequest({ prompt: 'a fox', ...request }), model, { seed: 5 })

describe('a request against its model', () => {
  it('is filled from the model, and zero is a seed', () => {
    const { effective, warnings } = resolve({ seed: 0 })
    expect(effective).toMatchObject({ num_frames: 17, fps: 8, width: 64, height: 64, num_inference_steps: 8, seed: 0 })
    expect([warnings, resolve({}).effective.seed]).toEqual([[], 5])
  })

  it('snaps to what the model allows, ties up, and says so; strictly it refuses', () => {
    for (const [request, field, given] of [
      [{ num_frames: 16 }, 'num_frames', 17],
      [{ num_frames: 15 }, 'num_frames', 17],
      [{ num_frames: 14 }, 'num_frames', 13],
      [{ duration: 1 }, 'num_frames', 9],
      [{ num_frames: 500 }, 'num_frames', 81],
      [{ num_inference_steps: 99 }, 'num_inference_steps', 50],
      [{ guidance_scale: 11 }, 'guidance_scale', 10],
      [{ fps: 30 }, 'fps', 8],
    ] as const) {
      const { effective, warnings } = resolve(request)
      expect([request, effective[field]]).toEqual([request, given])
      expect(warnings).toHaveLength(1)
      expect(() => resolve({ ...request, strict: true })).toThrow(expect.objectContaining({ code: 'strict_mismatch' }))
    }
  })

  it('names a size in three ways that mean the same', () => {
    const size = (request: object) => {
      const { width, height } = resolve(request).effective
      return `${width}x${height}`
    }
    expect(size({ width: 128, height: 64 })).toBe('128x64')
    expect(size({ size: '128x64' })).toBe('128x64')
    expect(size({ resolution: '64p', aspect_ratio: '2:1' })).toBe('128x64')
    expect(size({ aspect_ratio: '1:2' })).toBe('64x128')
    expect(size({ size: '4000x1000' })).toBe('256x128')
    expect(resolve({ resolution: '720p', aspect_ratio: '9:16' }, inSeconds).effective).toMatchObject({
      width: 720,
      height: 1280,
    })
  })

  it('of a model that counts in seconds goes to the nearest of them', () => {
    expect(resolve({ duration: 7.5 }, inSeconds).effective).toMatchObject({ duration: 10, num_frames: 240 })
    expect(resolve({ num_frames: 100 }, inSeconds).effective).toMatchObject({ duration: 5, num_frames: 120 })
    expect(resolve({}, inSeconds).effective.num_inference_steps).toBeNull()
  })

  it('is refused where the model has no such dial', () => {
    for (const request of [
      { generate_audio: true },
      { scheduler: 'euler' },
      { loras: [{ id: 'x' }] },
      { upscale: { factor: 2 } },
      { flow_shift: 3 },
      { provider_options: { node: { x: 1 } } },
    ]) {
      expect(() => resolve(request)).toThrow(expect.objectContaining({ code: 'unsupported_capability' }))
    }
  })

  it('stays as it is when it is resolved again: nothing is adjusted twice', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1024 }),
        fc.integer({ min: 64, max: 4096 }),
        fc.integer({ min: 64, max: 4096 }),
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 30, noNaN: true }),
        (frames, width, height, steps, guidance) => {
          const first = resolve({
            num_frames: frames,
            width,
            height,
            num_inference_steps: steps,
            guidance_scale: guidance,
          }).effective
          expect(first.width * first.height).toBeLessThanOrEqual(65536)
          const { num_frames, num_inference_steps, guidance_scale } = first
          const size = `${first.width}x${first.height}`
          const again = resolve({ num_frames, size, num_inference_steps, guidance_scale, strict: true })
          expect(again.effective).toEqual(first)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('of one of our own models is held to its card as sent', () => {
    const card = readCard(testCard)
    expect(effectiveRequest({ prompt: 'a fox', seed: 3 }, card, 1)).toMatchObject({ scheduler: 'ddim', seed: 3 })
    expect(() => effectiveRequest({ prompt: 'a fox', num_frames: 16 }, card, 1)).toThrow(
      'num_frames: got 16, zt-test allows 4n + 1 from 1 to 81; use 17',
    )
    expect(() => effectiveRequest({ prompt: 'a fox', size: '63x64' }, card, 1)).toThrow(
      'size: got 63x64, zt-test allows multiples of 16',
    )
  })
})

describe('a request as sent', () => {
  const refused: readonly (readonly [object, string])[] = [
    [{ prompt: '' }, 'invalid_parameter'],
    [{ prompt: '   ' }, 'invalid_parameter'],
    [{ prompt: 'x'.repeat(2001) }, 'invalid_parameter'],
    [{ prompt: 'a\0b' }, 'invalid_parameter'],
    [{ prompt: '\ud800' }, 'invalid_parameter'],
    [{ steps: 1 }, 'unknown_parameter'],
    [{ seed: 1.5 }, 'invalid_parameter'],
    [{ seed: -1 }, 'invalid_parameter'],
    [{ seed: 2 ** 53 + 1 }, 'invalid_parameter'],
    [{ num_frames: 9, duration: 1 }, 'conflicting_parameters'],
    [{ size: '64x64', width: 64, height: 64 }, 'conflicting_parameters'],
    [{ width: 64 }, 'invalid_parameter'],
    [{ control: [{ type: 'depth', speed: 1 }] }, 'unknown_parameter'],
    [{ image: 'https://evil.example/x.png' }, 'invalid_parameter'],
    [
      { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v'])) },
      'invalid_parameter',
    ],
    [{ webhook: { events: ['video.completed'] } }, 'conflicting_parameters'],
  ]
  for (const [fields, code] of refused) {
    it(`is refused in one sentence: ${JSON.stringify(fields).slice(0, 60)}`, () => {
      expect(() => parseRequest({ prompt: 'a fox', ...fields })).toThrow(expect.objectContaining({ code }))
    })
  }

  it('is measured in code points and normalised, never trimmed or folded', () => {
    expect(parseRequest({ prompt: '🦊'.repeat(2000) }).prompt).toHaveLength(4000)
    expect(parseRequest({ prompt: ' e\u0301 ' }).prompt).toBe(' \u00e9 ')
  })
})

const context: KeyContext = { policyVersion: '1', tenant: 't', provider: 'node', weightsSha256: 'w' }
const asset = (letter: string) => `ast_${letter.repeat(26)}`
const facts = {
  kind: 'zt.latent.v1' as const,
  family: 'zt.test',
  model: 'zt-test@r1',
  shape: [1, 4, 5, 8, 8],
  dtype: 'f32' as const,
  bytes: 5120,
  sha256: '0'.repeat(64),
  step: 2,
  steps: 8,
  scheduler: 'ddim',
  seed: '5',
} satisfies LatentFacts
const full: EffectiveVideo = {
  ...resolve({}).effective,
  guidance_scale_2: 2,
  flow_shift: 3,
  strength: 0.5,
  frame_images: [{ image: asset('a'), frame_type: 'first_frame' }],
  video: asset('b'),
  audio: asset('c'),
  input_references: [asset('d')],
  control: [{ type: 'depth', video: asset('e'), weight: 1, start: 0, end: 1 }],
  loras: [{ id: 'l', scale: 1 }],
  interpolate: 2,
  upscale: 2,
  generate_audio: true,
  draft: true,
  init_latent: asset('f'),
  envelope: facts,
  stop_step: 5,
  provider_options: { go: true, b: 1 },
}
const hashes = new Map([...'abcdefg'].map((letter) => [asset(letter), `hash-${letter}`]))

describe('the content key', () => {
  it('changes with every field that decides the bytes', () => {
    const base = canonicalForm(full, { ...context, hashes })
    const changes: Partial<Record<keyof EffectiveVideo, unknown>> = {
      model: 'other',
      revision: 'r9',
      prompt: 'a bird',
      negative_prompt: 'blur',
      num_frames: 5,
      fps: 9,
      width: 80,
      height: 80,
      num_inference_steps: 9,
      guidance_scale: 1.001,
      scheduler: 'dpm2m',
      seed: 6,
      n: 2,
      output_format: 'gif',
      guidance_scale_2: 2.001,
      flow_shift: 3.001,
      strength: 0.501,
      frame_images: [{ image: asset('a'), frame_type: 'last_frame' }],
      video: asset('g'),
      audio: asset('g'),
      input_references: [asset('g')],
      control: [{ type: 'pose', video: asset('e'), weight: 1, start: 0, end: 1 }],
      loras: [{ id: 'l', scale: 1.001 }],
      interpolate: 4,
      upscale: 4,
      generate_audio: false,
      draft: false,
      init_latent: asset('g'),
      envelope: { ...facts, step: 3 },
      stop_step: 6,
      provider_options: { go: false, b: 1 },
    }
    const forms = Object.entries(changes).map(([name, value]) =>
      canonicalForm({ ...full, [name]: value } as EffectiveVideo, { ...context, hashes }),
    )
    expect(new Set([base, ...forms]).size).toBe(Object.keys(changes).length + 1)
    const { duration: _, ...decides } = { ...full, duration: 1 }
    expect(Object.keys(changes).sort()).toEqual(Object.keys(decides).sort())
    for (const name of ['policyVersion', 'tenant', 'provider', 'weightsSha256']) {
      expect(canonicalForm(full, { ...context, hashes, [name]: 'other' })).not.toBe(base)
    }
  })

  it('is the same for the same bytes under another id, and in any order of options', () => {
    const again = { ...full, video: asset('z'), provider_options: { b: 1, go: true } }
    const key = canonicalForm(again, { ...context, hashes: new Map([...hashes, [asset('z'), 'hash-b']]) })
    expect(key).toBe(canonicalForm(full, { ...context, hashes }))
  })

  it('tells apart what only looks alike: no trimming, folding or joining', async () => {
    const one = resolve({}).effective
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'grapheme', maxLength: 20 }),
        fc.string({ unit: 'grapheme', maxLength: 20 }),
        async (prompt, negative) => {
          const key = (p: string, n: string) => contentKey({ ...one, prompt: p, negative_prompt: n }, context)
          const swapped = await key(negative, prompt)
          const same = prompt.normalize('NFC') === negative.normalize('NFC')
          expect((await key(prompt, negative)) === swapped).toBe(same)
          expect(await key(`${prompt} `, negative)).not.toBe(await key(prompt, negative))
          expect(await key(prompt, negative)).toMatch(/^zt1_[A-Za-z0-9_-]{43}$/)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('of a fixed request is this one, in every runtime', async () => {
    const request = { ...resolve({ seed: 7 }).effective, prompt: 'a blue bird' } satisfies EffectiveVideo
    expect(canonicalForm(request, context)).toBe(
      '["zt1","1","t","node","zt-test","r1","w","a blue bird","","7",1,8,1000,null,null,"ddim",null,64,64,17,8,[],null,null,[],[],[],null,null,false,"mp4",false,null,[]]',
    )
  })
})
