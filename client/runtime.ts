/**
 * Which build of onnxruntime-web a browser gets, and how it is loaded.
 *
 * The runtime is a folder of files at an address, not part of any bundle: an entry module, its glue and its wasm, all
 * from one origin that the page trusts. Never the package's default entry, which is an older engine. Knows no graph.
 */

import type * as Ort from 'onnxruntime-web/jspi'
import { GenerationError } from '../shared/errors.ts'
import { type OrtBuild, runtimeFiles, runtimeVersion } from './runtime-files.ts'

export type OrtModule = typeof Ort

export interface Capabilities {
  /** `navigator.gpu` exists. */
  readonly gpu: boolean
  /** `WebAssembly.Suspending` exists: stack switching, so that wasm can wait for the GPU. */
  readonly suspending: boolean
}

export function capabilities(): Capabilities {
  return { gpu: 'gpu' in navigator, suspending: 'Suspending' in WebAssembly }
}

/** One build per browser: both execution providers of a ladder come from the same files. */
export function buildFor({ gpu, suspending }: Capabilities): OrtBuild {
  if (!gpu) return 'wasm'
  return suspending ? 'jspi' : 'webgpu'
}

/**
 * Loads a build.
 * @param base address of the folder, ending in a slash.
 * @throws GenerationError offline or device_unavailable, naming the address.
 */
export async function loadRuntime(build: OrtBuild, base: string, threads: number): Promise<OrtModule> {
  const files = runtimeFiles[build]
  const at = (file: string) => new URL(file, base).href
  let ort: OrtModule
  try {
    ort = (await import(/* @vite-ignore */ at(files.entry))) as OrtModule
  } catch (cause) {
    throw new GenerationError(
      navigator.onLine ? 'device_unavailable' : 'offline',
      `runtime: ${at(files.entry)} cannot be loaded; serve onnxruntime-web ${runtimeVersion} there or pass runtimeUrl`,
      { cause },
    )
  }
  ort.env.logLevel = 'error'
  ort.env.wasm.numThreads = threads
  ort.env.wasm.wasmPaths = { mjs: at(files.glue), wasm: at(files.wasm) }
  return ort
}

/** Threads for wasm: shared memory needs cross-origin isolation; one core is left to the page. */
export function wasmThreads(): number {
  if (!globalThis.crossOriginIsolated) return 1
  return Math.max(1, Math.min(8, navigator.hardwareConcurrency - 1))
}
