/**
 * Text-to-video models on Replicate, as data: adding one is adding one row.
 *
 * A row says what the catalog promises. How its dials are named upstream is read from the model's own schema when
 * it is first used, so that a renamed field is no change here.
 *
 * Dials, lists and limits were compared with the input schemas that Replicate published for these models in 2025 and
 * 2026, read from public copies and not through an account; those of ltx-2-fast and ltx-2-pro only with calls that
 * others make. Some rows offer less than upstream does.
 *
 * What a clip comes to where a model has no dial for it was compared with what makers, resellers and callers say of
 * the same models. Not confirmed: the frame rates of kling-o1, the Soras, grok-imagine-video, pixverse-v5 (16 or 24,
 * a reseller says), ray, ltx-2-retake and the two ltx-video-0.9.7; the pixels of ray (1360x752 and its like, some
 * say), of video-01 and video-01-live (1366x768, a reseller says), of hailuo-02 at 512p, of kling-v2.0's square (as a
 * reseller says) and of clips that begin with an image, which often keep its shape.
 *
 * Prices are ceilings to reserve, not quotations: the operator's account is billed by Replicate. They were compared
 * with copies of its price pages that others made, and are at or above the dearest price found there for what a row
 * offers. Only their makers' own prices were found for ltx-2-fast, ltx-2-pro, ltx-2-retake and gen4-turbo, only
 * callers' round figures for video-01 and video-01-live, and none for pixverse-v5, ray and wan-2.1-1.3b. Community
 * models are billed by the second of a graphics card: theirs are guesses at the longest run, of which only
 * hunyuan-video's was worked out, from a time its makers give for a card they do not name.
 */

import type { CatalogModel, Parameters } from '../../shared/catalog.ts'

/** What the catalog promises of one model. */
export interface ReplicateRow {
  readonly ref: string
  readonly summary: string
  readonly modes: CatalogModel['modes']
  readonly fps: Parameters['fps']
  readonly size: Parameters['size']
  /** Frames as [min, max, stride, offset, default], or seconds as a list with the default first. */
  readonly frames?: readonly [number, number, number, number, number]
  readonly seconds?: readonly [number, ...number[]]
  readonly more?: Partial<Parameters>
  /** Fields always set, where upstream defaults would change what was asked for. */
  readonly fixed?: Readonly<Record<string, string | number | boolean>>
  readonly options?: readonly string[]
  readonly community?: true
  readonly version?: string
  readonly unit?: CatalogModel['pricing']['unit']
  readonly usd: string
}

const fps = (...values: [number, ...number[]]): Parameters['fps'] => ({ values, default: values[0] })
const sizes = (...values: [string, ...string[]]): Parameters['size'] => ({ values, default: values[0] })

const p480 = sizes('832x480', '480x832')
const p480and720 = sizes('832x480', '480x832', '1280x720', '720x1280')
const p1080 = sizes('1920x1080', '1080x1920')
const p720and1080 = sizes('1280x720', '720x1280', '1920x1080', '1080x1920')
const seedance2 = sizes('864x496', '496x864', '1280x720', '720x1280')
const p480to1080 = sizes('1280x720', '720x1280', '832x480', '480x832', '1920x1080', '1080x1920')
const first = { frame_types: ['first_frame'] } satisfies Partial<Parameters>
const both = { frame_types: ['first_frame', 'last_frame'] } satisfies Partial<Parameters>
const negative = { negative_prompt: true } satisfies Partial<Parameters>
const steps = (min: number, max: number, otherwise: number) => ({
  num_inference_steps: { min, max, default: otherwise },
})
const guidance = (min: number, max: number, otherwise: number) => ({
  guidance_scale: { min, max, default: otherwise },
})

export const replicateRows: readonly ReplicateRow[] = [
  {
    ref: 'wan-video/wan-2.2-t2v-fast',
    summary: 'Wan 2.2, distilled',
    modes: ['t2v'],
    fps: { values: Array.from({ length: 26 }, (_, index) => index + 5), default: 16 },
    size: p480and720,
    frames: [81, 121, 4, 1, 81],
    more: { flow_shift: { min: 1, max: 20, default: 12 } },
    fixed: { interpolate_output: false, optimize_prompt: false },
    options: ['go_fast'],
    unit: 'run',
    usd: '0.200000',
  },
  {
    ref: 'wan-video/wan-2.2-i2v-fast',
    summary: 'Wan 2.2 from an image, distilled',
    modes: ['i2v'],
    fps: { values: Array.from({ length: 26 }, (_, index) => index + 5), default: 16 },
    size: p480and720,
    frames: [81, 121, 4, 1, 81],
    more: { ...both, flow_shift: { min: 1, max: 20, default: 12 } },
    fixed: { interpolate_output: false, optimize_prompt: false },
    options: ['go_fast'],
    unit: 'run',
    usd: '0.200000',
  },
  {
    ref: 'wan-video/wan-2.1-1.3b',
    summary: 'Wan 2.1, small',
    modes: ['t2v'],
    fps: fps(16),
    size: p480,
    frames: [17, 81, 16, 1, 81],
    more: { ...steps(10, 50, 30), ...guidance(0, 20, 6), flow_shift: { min: 0, max: 20, default: 8 } },
    unit: 'run',
    usd: '0.400000',
  },
  {
    ref: 'wavespeedai/wan-2.1-i2v-480p',
    summary: 'Wan 2.1 from an image',
    modes: ['i2v'],
    fps: fps(16),
    size: p480,
    frames: [81, 81, 4, 1, 81],
    more: {
      ...first,
      ...negative,
      ...steps(1, 40, 30),
      ...guidance(1, 10, 5),
      flow_shift: { min: 0, max: 10, default: 3 },
    },
    options: ['fast_mode'],
    unit: 'video_second',
    usd: '0.200000',
  },
  {
    ref: 'wan-video/wan-2.5-t2v',
    summary: 'Wan 2.5',
    modes: ['t2v'],
    fps: fps(24),
    size: p480to1080,
    seconds: [5, 10],
    more: { ...negative, audio: true },
    fixed: { enable_prompt_expansion: false },
    usd: '0.200000',
  },
  {
    ref: 'wan-video/wan-2.5-t2v-fast',
    summary: 'Wan 2.5, fast',
    modes: ['t2v'],
    fps: fps(24),
    size: p720and1080,
    seconds: [5, 10],
    more: { ...negative, audio: true },
    fixed: { enable_prompt_expansion: false },
    usd: '0.150000',
  },
  {
    ref: 'wan-video/wan-2.5-i2v',
    summary: 'Wan 2.5 from an image',
    modes: ['i2v'],
    fps: fps(24),
    size: p480to1080,
    seconds: [5, 10],
    more: { ...first, ...negative, audio: true },
    fixed: { enable_prompt_expansion: false },
    usd: '0.200000',
  },
  {
    ref: 'lightricks/ltx-video',
    summary: 'LTX Video',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    // What its target sizes and ratios come to, each side going to the nearest multiple of 32.
    size: sizes(
      '768x512',
      '512x768',
      '640x640',
      '864x480',
      '480x864',
      '1024x576',
      '576x1024',
      '1376x768',
      '768x1376',
      '1024x1024',
    ),
    frames: [97, 257, 32, 1, 97],
    more: { ...first, ...negative, ...steps(1, 50, 30), ...guidance(1, 20, 3) },
    community: true,
    unit: 'run',
    usd: '0.300000',
  },
  {
    ref: 'lightricks/ltx-video-0.9.7',
    summary: 'LTX Video 0.9.7',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: { multiple: 32, min: 256, max: 1280, max_pixels: 921600, default: '704x480' },
    frames: [9, 257, 8, 1, 161],
    more: { ...first, ...negative, ...steps(1, 50, 50), ...guidance(1, 10, 3) },
    community: true,
    unit: 'run',
    usd: '0.500000',
  },
  {
    ref: 'lightricks/ltx-video-0.9.7-distilled',
    summary: 'LTX Video 0.9.7, distilled',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    // Its resolution is the height, whatever the ratio: upright clips of 720 lines are none of ours.
    size: sizes('1280x720', '720x720'),
    frames: [9, 257, 8, 1, 121],
    more: { ...first, ...negative },
    community: true,
    unit: 'run',
    usd: '0.300000',
  },
  {
    ref: 'lightricks/ltx-2-fast',
    summary: 'LTX 2, fast',
    modes: ['t2v', 'i2v'],
    fps: fps(25),
    size: sizes('1920x1080'),
    seconds: [6, 8, 10, 12, 14, 16, 18, 20],
    more: { ...first, generate_audio: true, seed: false },
    usd: '0.160000',
  },
  {
    ref: 'lightricks/ltx-2-pro',
    summary: 'LTX 2 Pro',
    modes: ['t2v', 'i2v'],
    fps: fps(25),
    size: sizes('1920x1080'),
    seconds: [6, 8, 10],
    more: { ...first, generate_audio: true, seed: false },
    usd: '0.240000',
  },
  {
    ref: 'lightricks/ltx-2-retake',
    summary: 'LTX 2: a part of a video made anew',
    modes: ['v2v'],
    fps: fps(25),
    size: p1080,
    seconds: [6, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    more: { video: true, seed: false },
    options: ['start_time', 'mode'],
    // The whole video is billed, of up to twenty seconds, however short the part.
    unit: 'run',
    usd: '2.500000',
  },
  {
    ref: 'tencent/hunyuan-video',
    summary: 'HunyuanVideo',
    modes: ['t2v'],
    fps: { values: Array.from({ length: 30 }, (_, index) => index + 1), default: 24 },
    size: { multiple: 16, min: 16, max: 1280, max_pixels: 921600, default: '864x480' },
    frames: [5, 129, 4, 1, 129],
    more: { ...steps(1, 50, 50), ...guidance(1, 10, 6) },
    community: true,
    unit: 'run',
    // The largest clip takes its makers 1904 seconds on one card; an H100 is $0.001525 a second here.
    usd: '3.000000',
  },
  {
    ref: 'minimax/video-01',
    summary: 'Minimax Video-01',
    modes: ['t2v', 'i2v'],
    fps: fps(25),
    size: sizes('1280x720'),
    seconds: [6],
    more: { ...first, seed: false },
    fixed: { prompt_optimizer: false },
    unit: 'run',
    usd: '0.500000',
  },
  {
    ref: 'minimax/video-01-live',
    summary: 'Minimax Video-01 for illustrations',
    modes: ['i2v'],
    fps: fps(25),
    size: sizes('1280x720'),
    seconds: [6],
    more: { ...first, seed: false },
    fixed: { prompt_optimizer: false },
    unit: 'run',
    usd: '0.500000',
  },
  {
    ref: 'minimax/hailuo-02',
    summary: 'Minimax Hailuo 02',
    modes: ['t2v', 'i2v'],
    fps: fps(25),
    size: sizes('1366x768', '1920x1080', '912x512'),
    // Upstream takes ten seconds at 768 lines only.
    seconds: [6, 10],
    more: { ...both, seed: false },
    fixed: { prompt_optimizer: false },
    usd: '0.100000',
  },
  {
    ref: 'kwaivgi/kling-v1.6-pro',
    summary: 'Kling 1.6 Pro',
    // An image to begin or end with is required.
    modes: ['i2v'],
    fps: fps(24),
    size: p1080,
    seconds: [5, 10],
    more: { ...both, ...negative, ...guidance(0, 1, 0.5), input_references: 4, seed: false },
    usd: '0.150000',
  },
  {
    ref: 'kwaivgi/kling-v2.0',
    summary: 'Kling 2.0',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: sizes('1280x720', '720x1280', '720x720'),
    seconds: [5, 10],
    more: { ...first, ...negative, ...guidance(0, 1, 0.5), seed: false },
    usd: '0.400000',
  },
  {
    ref: 'kwaivgi/kling-v2.1',
    summary: 'Kling 2.1 from an image',
    modes: ['i2v'],
    fps: fps(24),
    size: p720and1080,
    seconds: [5, 10],
    more: { ...both, ...negative, seed: false },
    usd: '0.150000',
  },
  {
    ref: 'kwaivgi/kling-o1',
    summary: 'Kling O1',
    modes: ['t2v', 'i2v', 'v2v'],
    fps: fps(24),
    size: p1080,
    seconds: [5, 10],
    more: { ...both, input_references: 7, video: true, seed: false },
    options: ['video_reference_type', 'keep_original_sound'],
    // A video that is edited is billed at its own length, which is up to ten seconds where five are asked for.
    usd: '0.340000',
  },
  {
    ref: 'google/veo-3',
    summary: 'Veo 3',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: p720and1080,
    seconds: [8, 4, 6],
    more: { ...first, ...negative, generate_audio: true },
    usd: '0.800000',
  },
  {
    ref: 'google/veo-3.1',
    summary: 'Veo 3.1',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: p720and1080,
    seconds: [8, 4, 6],
    more: { ...both, ...negative, generate_audio: true, input_references: 3 },
    usd: '0.800000',
  },
  {
    ref: 'google/veo-3.1-fast',
    summary: 'Veo 3.1, fast',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: p720and1080,
    seconds: [8, 4, 6],
    more: { ...both, ...negative, generate_audio: true },
    usd: '0.300000',
  },
  {
    ref: 'openai/sora-2',
    summary: 'Sora 2',
    modes: ['t2v', 'i2v'],
    fps: fps(30),
    size: sizes('1280x720', '720x1280'),
    seconds: [4, 8, 12],
    more: { ...first, seed: false },
    usd: '0.200000',
  },
  {
    ref: 'openai/sora-2-pro',
    summary: 'Sora 2 Pro',
    modes: ['t2v', 'i2v'],
    fps: fps(30),
    size: sizes('1280x720', '720x1280', '1792x1024', '1024x1792'),
    seconds: [4, 8, 12],
    more: { ...first, seed: false },
    usd: '0.600000',
  },
  {
    ref: 'bytedance/seedance-1-pro',
    summary: 'Seedance 1 Pro',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: sizes('864x480', '480x864', '1248x704', '704x1248', '1920x1088', '1088x1920'),
    seconds: [5, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12],
    more: both,
    usd: '0.200000',
  },
  {
    ref: 'bytedance/seedance-1-lite',
    summary: 'Seedance 1 Lite',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: sizes('864x480', '480x864', '1248x704', '704x1248'),
    seconds: [5, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12],
    more: { ...both, input_references: 4 },
    usd: '0.100000',
  },
  {
    ref: 'bytedance/seedance-2.0',
    summary: 'Seedance 2.0',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: seedance2,
    seconds: [5, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    more: { ...both, generate_audio: true, input_references: 8 },
    usd: '0.400000',
  },
  {
    ref: 'bytedance/seedance-2.0-fast',
    summary: 'Seedance 2.0, fast',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: seedance2,
    seconds: [5, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    more: { ...both, generate_audio: true, input_references: 8 },
    usd: '0.300000',
  },
  {
    ref: 'xai/grok-imagine-video',
    summary: 'Grok Imagine',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: sizes('848x480', '480x848', '1280x720', '720x1280'),
    seconds: [5, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    more: { ...first, seed: false },
    usd: '0.100000',
  },
  {
    ref: 'pixverse/pixverse-v5',
    summary: 'PixVerse 5',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: sizes('960x540', '540x960', '1280x720', '720x1280', '1920x1080', '1080x1920'),
    seconds: [5, 8],
    more: { ...both, ...negative },
    usd: '0.200000',
  },
  {
    ref: 'runwayml/gen4-turbo',
    summary: 'Runway Gen-4 Turbo',
    modes: ['i2v'],
    fps: fps(24),
    size: sizes('1280x720', '720x1280', '960x960', '1104x832', '832x1104', '1584x672'),
    seconds: [5, 10],
    more: first,
    usd: '0.100000',
  },
  {
    ref: 'luma/ray',
    summary: 'Luma Ray',
    modes: ['t2v', 'i2v'],
    fps: fps(24),
    size: sizes('1280x720', '720x1280', '960x960'),
    seconds: [5],
    more: { ...both, seed: false },
    unit: 'run',
    usd: '0.500000',
  },
  {
    ref: 'anotherjesse/zeroscope-v2-xl',
    summary: 'Zeroscope v2 XL',
    modes: ['t2v'],
    fps: fps(24, 8),
    size: sizes('1024x576', '576x320'),
    frames: [24, 24, 1, 0, 24],
    more: { ...negative, ...steps(1, 100, 50), ...guidance(1, 100, 7.5) },
    community: true,
    version: '9f747673945c62801b13b84701c783929c0ee784e4748ec062204894dda1a351',
    unit: 'run',
    usd: '0.500000',
  },
]
