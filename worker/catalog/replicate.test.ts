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
      { prompt: {}, seconds: { type: 'string' }, size: { enum: ['1280x720', '720x1280'] } },
      {},
      {},
    )
    expect(input).toEqual({ prompt: 'a fox', seconds: '8', size: '720x1280' })
  })
})
