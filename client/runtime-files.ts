/**
 * The files of onnxruntime-web that a browser may be given, by build. Data only, for those who load them and those who
 * serve them.
 */

export type OrtBuild = 'jspi' | 'webgpu' | 'wasm'

interface BuildFiles {
  readonly entry: string
  readonly glue: string
  readonly wasm: string
}

/** Sizes of the wasm: 16.8, 26.8 (asyncify) and 14.2 MB. */
export const runtimeFiles: Readonly<Record<OrtBuild, BuildFiles>> = {
  jspi: {
    entry: 'ort.jspi.min.mjs',
    glue: 'ort-wasm-simd-threaded.jspi.mjs',
    wasm: 'ort-wasm-simd-threaded.jspi.wasm',
  },
  webgpu: {
    entry: 'ort.webgpu.min.mjs',
    glue: 'ort-wasm-simd-threaded.asyncify.mjs',
    wasm: 'ort-wasm-simd-threaded.asyncify.wasm',
  },
  wasm: { entry: 'ort.wasm.min.mjs', glue: 'ort-wasm-simd-threaded.mjs', wasm: 'ort-wasm-simd-threaded.wasm' },
}

/** The version whose files are expected at the runtime's address. */
export const runtimeVersion = '1.30.0'
