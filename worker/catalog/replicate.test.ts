import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { catalogModelSchema } from '../../shared/catalog.ts'
import { resolveRequest } from '../../shared/effective.ts'
import { parseRequest } from '../../shared/request.ts'
import { costOf } from '../pricing.ts'
import { mapInput } from '../providers/input.ts'
import { replicateEntries } from './replicate.ts'

const entries = [...replicateEntries.values()]
const image = `ast_${'a'.repeat(26)}`
const media = { [image]: 'https://edge.test/image' }

describe('every model of the catalog', () => {
  for (const entry of entries) {
    it(`is a good entry and takes a plain request: ${entry.ref}`, () => {
      expect(v.safeParse(catalogModelSchema, entry.model).success).toBe(true)
      const request = parseRequest({
        prompt: 'a fox',
        ...(entry.model.modes.includes('t2v') ? {} : needs(entry.model.parameters)),
      })
      const { effective, warnings } = resolveRequest(request, entry.model, { seed: 1 })
      expect(warnings).toEqual([])
      expect(costOf(entry.model, effective)).toBeGreaterThan(0)
      const again = resolveRequest(
        parseRequest({
          prompt: 'a fox',
          num_frames: effective.num_frames,
          size: `${effective.width}x${effective.height}`,
          strict: true,
        }),
        entry.model,
        { seed: 1 },
      )
      expect(again.effective.num_frames).toBe(effective.num_frames)
    })
  }

  it('has a name of its own', () => {
    expect(new Set(entries.map(({ ref }) => ref)).size).toBe(replicateEntries.size)
    expect(entries.length).toBeGreaterThanOrEqual(35)
  })
})

const needs = ({ frame_types: types }: { frame_types: readonly string[] }) => (types.length > 0 ? { image } : {})

const effectiveOf = (id: string, request: object) => {
  const { model } = replicateEntries.get(id) as (typeof entries)[number]
  return resolveRequest(parseRequest({ prompt: 'a fox', ...request }), model, { seed: 7 }).effective
}

describe('the input of an upstream model', () => {
  it('uses the first name its schema has, and the entry’s fixed fields', () => {
    const entry = replicateEntries.get('wan-2.2-t2v-fast') as (typeof entries)[number]
    const schema = {
      prompt: {},
      num_frames: { type: 'integer', minimum: 81, maximum: 121 },
      frames_per_second: { type: 'integer' },
      resolution: { enum: ['480p', '720p'] },
      aspect_ratio: { enum: ['16:9', '9:16'] },
      sample_shift: {},
      seed: {},
      optimize_prompt: {},
    }
    const effective = effectiveOf('wan-2.2-t2v-fast', { size: '720x1280', fps: 24 })
    expect(mapInput(effective, schema, entry.fixed, {})).toEqual({
      input: {
        prompt: 'a fox',
        num_frames: 81,
        frames_per_second: 24,
        resolution: '720p',
        aspect_ratio: '9:16',
        sample_shift: 12,
        seed: 7,
        optimize_prompt: false,
      },
      warnings: [],
    })
  })

  it('keeps to bounds and lists, and says what it changed or could not say', () => {
    const effective = effectiveOf('hailuo-02', { duration: 10, image, seed: 7 })
    const { input, warnings } = mapInput(
      effective,
      { prompt: {}, first_frame_image: {}, duration: { enum: [6] }, resolution: { enum: ['512p', '768p'] } },
      {},
      media,
    )
    expect(input).toEqual({ prompt: 'a fox', first_frame_image: media[image], duration: 6, resolution: '768p' })
    expect(warnings).toEqual([
      { code: 'adjusted', pointer: '/duration', requested: 10, effective: 6 },
      { code: 'parameter_dropped', pointer: '/seed' },
    ])
  })

  it('says seconds as text where a model wants text, and a size by its list', () => {
    const effective = effectiveOf('sora-2', { size: '720x1280', duration: 8 })
    const { input } = mapInput(
      effective,
      { prompt: {}, seconds: { type: 'string' }, size: { enum: ['1280*720', '720*1280'] } },
      {},
      {},
    )
    expect(input).toEqual({ prompt: 'a fox', seconds: '8', size: '720*1280' })
  })

  it('names a ratio and a resolution in words where a model does', () => {
    const schema = {
      aspect_ratio: { type: 'string', enum: ['portrait', 'landscape'] },
      resolution: { type: 'string', enum: ['standard', 'high'] },
    }
    const inputOf = (size: string) => mapInput(effectiveOf('sora-2-pro', { size }), schema, {}, {}).input
    expect(inputOf('720x1280')).toEqual({ aspect_ratio: 'portrait', resolution: 'standard' })
    expect(inputOf('1792x1024')).toEqual({ aspect_ratio: 'landscape', resolution: 'high' })
  })

  it('sends no ratio where a model lists none of that kind', () => {
    const effective = effectiveOf('grok-imagine-video', {})
    expect(mapInput(effective, { aspect_ratio: { enum: ['auto'] } }, {}, {}).input).toEqual({})
  })

  it('says a resolution under whichever name lists some, and never takes another field of that name for it', () => {
    const quality = { quality: { enum: ['360p', '540p', '720p', '1080p'] } }
    expect(mapInput(effectiveOf('pixverse-v5', { size: '1920x1080' }), quality, {}, {}).input).toEqual({
      quality: '1080p',
    })
    const large = { resolution: { enum: ['1080p', '2k', '4k'] } }
    expect(mapInput(effectiveOf('ltx-2-fast', {}), large, {}, {}).input).toEqual({ resolution: '1080p' })
    const others = { mode: { enum: ['replace_audio', 'replace_video'] }, quality: { type: 'integer' } }
    expect(mapInput(effectiveOf('ltx-2-retake', {}), others, {}, {}).input).toEqual({})
  })

  it('takes the mode that makes the size, and the best one for a last frame', () => {
    const schema = { start_image: {}, end_image: {}, mode: { enum: ['standard', 'pro'] } }
    const mapped = (request: object) => mapInput(effectiveOf('kling-v2.1', { image, ...request }), schema, {}, media)
    expect(mapped({ size: '1280x720' }).input.mode).toBe('standard')
    expect(mapped({ size: '1080x1920' }).input.mode).toBe('pro')
    const { input, warnings } = mapped({ size: '1280x720', last_image: image })
    expect(input).toEqual({ start_image: media[image], end_image: media[image], mode: 'pro' })
    expect(warnings).toContainEqual({
      code: 'adjusted',
      pointer: '/size',
      requested: '1280x720',
      effective: '1080p',
    })
  })

  it('gives LTX Video the side of a square as large, which comes to the size that was asked for', () => {
    const { model } = replicateEntries.get('ltx-video') as (typeof entries)[number]
    const ratios = '1:1 1:2 2:1 2:3 3:2 3:4 4:3 4:5 5:4 9:16 16:9 9:21 21:9'.split(' ')
    const schema = {
      target_size: { type: 'integer', enum: [512, 576, 640, 704, 768, 832, 896, 960, 1024] },
      aspect_ratio: { enum: ratios },
    }
    for (const size of model.parameters.size.values ?? []) {
      const { input } = mapInput(effectiveOf('ltx-video', { size }), schema, {}, {})
      const [across = 1, down = 1] = String(input.aspect_ratio).split(':').map(Number)
      const scale = Math.sqrt(Number(input.target_size) ** 2 / (across * down))
      const side = (part: number) => 32 * Math.round((part * scale) / 32)
      expect(`${side(across)}x${side(down)}`).toBe(size)
    }
  })

  it('turns sound off where it was not asked for, and tells a switch from a file', () => {
    const silent = effectiveOf('veo-3', {})
    expect(mapInput(silent, { generate_audio: { type: 'boolean' } }, {}, {}).input).toEqual({ generate_audio: false })
    const loud = effectiveOf('veo-3', { generate_audio: true })
    expect(mapInput(loud, { generate_audio: { type: 'boolean' } }, {}, {}).input).toEqual({ generate_audio: true })
    const file = { audio: { type: 'string' } }
    expect(mapInput(effectiveOf('wan-2.5-t2v', {}), file, {}, {}).input).toEqual({})
    expect(mapInput(effectiveOf('wan-2.5-t2v', { audio: image }), file, {}, media).input).toEqual({
      audio: media[image],
    })
  })

  it('hands a video over under its name among references', () => {
    const effective = effectiveOf('kling-o1', {
      video: image,
      provider_options: { replicate: { video_reference_type: 'base' } },
    })
    const schema = { reference_video: {}, video_reference_type: { enum: ['feature', 'base'] } }
    expect(mapInput(effective, schema, {}, media).input).toEqual({
      reference_video: media[image],
      video_reference_type: 'base',
    })
  })

  it('counts the frames of LTX Video in the steps that upstream lists', () => {
    expect(effectiveOf('ltx-video', { num_frames: 105 }).num_frames).toBe(97)
    expect(effectiveOf('ltx-video', { num_frames: 120 }).num_frames).toBe(129)
  })
})
