/**
 * The GPU as this browser offers it: an adapter, a device of our own, and what to call them.
 *
 * The device has the adapter's limits and `shader-f16` where there is one, never `subgroups`: attention kernels that
 * use them answered a few percent wrong on the adapters tried. Knows no model.
 */

import { GenerationError } from '../shared/errors.ts'
import type { DeviceReport } from '../shared/request.ts'

const wantedFeatures = ['shader-f16', 'timestamp-query'] as const
const reportedLimits = ['maxBufferSize', 'maxStorageBufferBindingSize', 'maxComputeWorkgroupStorageSize'] as const

/** Describes this machine; models are left to who knows them. Never throws: what cannot be found out is absent. */
export async function probeDevice(): Promise<DeviceReport> {
  const adapter = await adapterOf().catch(() => null)
  return {
    adapter_class: adapter === null ? 'none' : adapterClass(adapter),
    features: adapter === null ? [] : wantedFeatures.filter((name) => adapter.features.has(name)),
    limits: Object.fromEntries(adapter === null ? [] : reportedLimits.map((name) => [name, adapter.limits[name]])),
    cross_origin_isolated: globalThis.crossOriginIsolated,
    wasm_threads: globalThis.crossOriginIsolated,
    storage_free_bytes: await storageFree(),
    // Node has no such property; there, only a try can tell.
    online: navigator.onLine !== false,
    models: [],
  }
}

/** Milliseconds after which an estimate is not waited for: on a busy disk it may take minutes, and a run would wait with it. */
const longest = 2000

/** Bytes, as the browser estimates them: any write may still fail. Where it does not answer, a write is left to tell. */
async function storageFree(): Promise<number> {
  const asked = navigator.storage?.estimate().catch(() => undefined)
  if (asked === undefined) return 0
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, longest, 'late')
  })
  const storage = await Promise.race([asked, late])
  clearTimeout(timer)
  return storage === 'late' ? Number.MAX_SAFE_INTEGER : Math.max(0, (storage?.quota ?? 0) - (storage?.usage ?? 0))
}

export interface OwnedDevice {
  readonly device: GPUDevice
  readonly adapterClass: string
}

/**
 * Opens a device.
 * @throws GenerationError device_unavailable where there is no adapter.
 */
export async function openDevice(): Promise<OwnedDevice> {
  const adapter = await adapterOf()
  if (adapter === null) {
    throw new GenerationError(
      'device_unavailable',
      'WebGPU: no adapter, allowed is any; update the browser or its driver',
    )
  }
  const device = await adapter.requestDevice({
    requiredFeatures: wantedFeatures.filter((name) => adapter.features.has(name)),
    requiredLimits: adapterLimits(adapter),
  })
  return { device, adapterClass: adapterClass(adapter) }
}

async function adapterOf(): Promise<GPUAdapter | null> {
  if (!('gpu' in navigator)) return null
  return navigator.gpu.requestAdapter({ powerPreference: 'high-performance' })
}

/** Everything the adapter can do, since a default device stops at 256 MiB buffers. */
function adapterLimits({ limits }: GPUAdapter): Record<string, number> {
  const names = Object.keys(Object.getPrototypeOf(limits)).filter((name) => !/^(constructor|.*Subgroup.*)$/.test(name))
  const entries = names.map((name) => [name, limits[name as keyof GPUSupportedLimits]] as const)
  return Object.fromEntries(entries.filter((entry): entry is readonly [string, number] => typeof entry[1] === 'number'))
}

function adapterClass({ info }: GPUAdapter): string {
  return `${info.vendor || 'unknown'}/${info.architecture || info.device || 'unknown'}`
}
