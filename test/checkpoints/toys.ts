/** Configurations small enough for tests, with every feature of the released ones. */

import type { RandomParts } from './random.ts'

export const toyWan: RandomParts = {
  'wan-dit': {
    channels: 16,
    outChannels: 16,
    patch: [1, 2, 2],
    width: 128,
    depth: 2,
    heads: 2,
    hidden: 256,
    textWidth: 64,
    featureWidth: 64,
    textRows: 512,
  },
}

export const toyTaehv: RandomParts = {
  'taehv-decoder': {
    latentChannels: 16,
    channels: [16, 12, 8, 8],
    growth: [1, 2, 2],
    storedGrowth: [1, 2, 2],
    patch: 1,
    trim: 3,
  },
}

export const toyLtx: RandomParts = {
  'ltx-dit': {
    channels: 16,
    outChannels: 16,
    width: 128,
    depth: 2,
    heads: 4,
    hidden: 256,
    textWidth: 64,
    featureWidth: 64,
    causal: true,
  },
  'ltx-vae-decoder': {
    latentChannels: 16,
    channels: [32, 16, 8, 8],
    residuals: [1, 1, 1, 1],
    patch: 4,
    featureWidth: 64,
    timestepScale: 1000,
  },
}

export const toyUpscaler: RandomParts = {
  'ltx-upscaler': { channels: 16, width: 32, blocks: 1, groups: 32 },
}

/** What a released LTX file says about itself. */
export const toyLtxMetadata = {
  config: JSON.stringify({
    transformer: { num_attention_heads: 4, causal_temporal_positioning: true },
    vae: { timestep_conditioning: true },
  }),
}

export const toyT5: RandomParts = {
  t5: {
    vocabulary: 320,
    width: 64,
    depth: 2,
    heads: 2,
    headWidth: 32,
    hidden: 96,
    buckets: 32,
    maxDistance: 128,
    biasPerLayer: true,
  },
}

export const toyMotion: RandomParts = {
  'motion-module': {
    modules: {
      'down_blocks.0.motion_modules.0': {
        channels: 64,
        groups: 32,
        heads: 8,
        depth: 1,
        maxFrames: 32,
        normSpan: 'clip',
      },
    },
  },
}
