import { describe, expect, it } from 'vitest'
import { networkNames } from './rename.ts'

const renamed = (...[kind, names]: Parameters<typeof networkNames>) => [...networkNames(kind, names).keys()]

describe('names', () => {
  it("of the original Wan files become diffusers', norm2 and norm3 changing places", () => {
    const original = [
      'patch_embedding.weight',
      'time_embedding.0.weight',
      'text_embedding.2.bias',
      'time_projection.1.weight',
      'blocks.7.self_attn.q.weight',
      'blocks.7.self_attn.norm_k.weight',
      'blocks.7.cross_attn.o.bias',
      'blocks.7.norm3.weight',
      'blocks.7.ffn.0.weight',
      'blocks.7.ffn.2.bias',
      'blocks.7.modulation',
      'head.modulation',
      'head.head.weight',
    ]
    expect(renamed('wan-dit', original)).toEqual([
      'patch_embedding.weight',
      'condition_embedder.time_embedder.linear_1.weight',
      'condition_embedder.text_embedder.linear_2.bias',
      'condition_embedder.time_proj.weight',
      'blocks.7.attn1.to_q.weight',
      'blocks.7.attn1.norm_k.weight',
      'blocks.7.attn2.to_out.0.bias',
      'blocks.7.norm2.weight',
      'blocks.7.ffn.net.0.proj.weight',
      'blocks.7.ffn.net.2.bias',
      'blocks.7.scale_shift_table',
      'scale_shift_table',
      'proj_out.weight',
    ])
  })

  it('of diffusers pass unchanged', () => {
    const names = ['blocks.0.norm2.weight', 'blocks.0.attn1.to_q.weight', 'proj_out.weight']
    expect(renamed('wan-dit', names)).toEqual(names)
    const decoder = [
      'decoder.up_blocks.1.upsamplers.0.conv.conv.weight',
      'decoder.mid_block.resnets.0.scale_shift_table',
    ]
    expect(renamed('ltx-vae-decoder', decoder)).toEqual(decoder)
  })

  it('of an LTX file are told apart by part and mapped in one pass', () => {
    const file = [
      'model.diffusion_model.patchify_proj.weight',
      'model.diffusion_model.adaln_single.emb.timestep_embedder.linear_1.weight',
      'model.diffusion_model.transformer_blocks.3.attn1.q_norm.weight',
      'vae.decoder.up_blocks.0.res_blocks.1.conv1.conv.weight',
      'vae.decoder.up_blocks.1.conv.conv.weight',
      'vae.decoder.up_blocks.2.time_embedder.timestep_embedder.linear_1.bias',
      'vae.decoder.up_blocks.6.res_blocks.0.scale_shift_table',
      'vae.decoder.last_time_embedder.timestep_embedder.linear_2.bias',
      'vae.decoder.last_scale_shift_table',
      'vae.per_channel_statistics.std-of-means',
    ]
    expect(renamed('ltx-dit', file).slice(0, 3)).toEqual([
      'proj_in.weight',
      'time_embed.emb.timestep_embedder.linear_1.weight',
      'transformer_blocks.3.attn1.norm_q.weight',
    ])
    expect(renamed('ltx-vae-decoder', file).slice(3)).toEqual([
      'decoder.mid_block.resnets.1.conv1.conv.weight',
      'decoder.up_blocks.0.upsamplers.0.conv.conv.weight',
      'decoder.up_blocks.0.time_embedder.timestep_embedder.linear_1.bias',
      'decoder.up_blocks.2.resnets.0.scale_shift_table',
      'decoder.time_embedder.timestep_embedder.linear_2.bias',
      'decoder.scale_shift_table',
      'latents_std',
    ])
  })

  it('of tied tensors both lead to the one the file has', () => {
    for (const stored of ['shared.weight', 'encoder.embed_tokens.weight']) {
      const names = networkNames('t5', [stored])
      expect([names.get('shared.weight'), names.get('encoder.embed_tokens.weight')]).toEqual([stored, stored])
    }
  })

  it('of the original motion modules become diffusers’', () => {
    const stored = [
      'down_blocks.0.motion_modules.1.temporal_transformer.norm.weight',
      'down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.attention_blocks.1.to_q.weight',
      'down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.norms.0.bias',
      'down_blocks.0.motion_modules.1.temporal_transformer.transformer_blocks.0.ff_norm.bias',
    ]
    expect(renamed('motion-module', stored)).toEqual([
      'down_blocks.0.motion_modules.1.norm.weight',
      'down_blocks.0.motion_modules.1.transformer_blocks.0.attn2.to_q.weight',
      'down_blocks.0.motion_modules.1.transformer_blocks.0.norm1.bias',
      'down_blocks.0.motion_modules.1.transformer_blocks.0.norm3.bias',
    ])
  })
})
