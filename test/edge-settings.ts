/**
 * Bindings of the Worker under test: a card, a fake node's address, credentials that are good nowhere.
 */

export const testCard = {
  id: 'zt-test',
  revision: 'r1',
  family: 'zt.test',
  latents: { channels: 4, temporal: 4, spatial: 8, plan: 'cosine' },
  summary: 'A model that exists in tests alone',
  license: 'Apache-2.0',
  architecture: { denoiser: 'x', textEncoder: 'x', autoencoder: 'x', guided: false, tokenizer: 'words' },
  prediction: 'velocity',
  schedule: 'cosine',
  weights: {
    denoiser: { file: 'a.safetensors', bytes: 1000, sha256: 'a'.repeat(64) },
    autoencoder: { file: 'b.safetensors', bytes: 500, sha256: 'b'.repeat(64) },
  },
  parameters: {
    num_frames: { min: 1, max: 81, stride: 4, offset: 1, default: 17 },
    fps: { default: 8 },
    size: { multiple: 16, min: 16, max: 256, max_pixels: 65536, default: '64x64' },
    num_inference_steps: { min: 1, max: 50, default: 8 },
    guidance_scale: { min: 1, max: 10, default: 1 },
    sampler: 'ddim',
  },
  training: {},
  figures: {},
}

export const nodeUrl = 'http://node.test/v1'
export const replicateUrl = 'https://api.replicate.com/v1'
export const operatorToken = 'operator-token-of-the-tests'

export const testBindings = {
  ENVIRONMENT: 'test',
  PUBLIC_URL: 'https://edge.test',
  SIGNING_SECRET: btoa('0123456789abcdef0123456789abcdef'),
  OPERATOR_TOKEN: operatorToken,
  NODE_URL: nodeUrl,
  NODE_TOKEN: 'node-token-of-the-tests',
  REPLICATE_API_TOKEN: 'r8_token_of_the_tests',
  MODEL_CARDS: JSON.stringify([testCard]),
  DEFAULT_MODEL: 'zt-test',
  CORS_ORIGINS: 'https://app.test,https://other.test',
  JOBS_BURST: '100000',
  JOBS_PER_SECOND: '100000',
  MAX_OPEN_JOBS: '100000',
  MAX_OPEN_JOBS_PER_SUBJECT: '1000',
}
