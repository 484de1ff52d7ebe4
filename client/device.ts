/**
 * The GPU as this browser offers it: an adapter, a device of our own, and what to call them.
 *
 * The device has the adapter's limits and `shader-f16` where there is one, never `subgroups`: attention kernels that
 * use them answered a few percent wrong on the adapters tried. Knows no model.
 */

import { GenerationError } from '../shared/errors.ts'

/** What the SDK says of a machine; advice for a router, never trusted for price or access. Names are the wire's. */
export interface DeviceReport {
  /** Vendor and architecture, for example `nvidia/ada-lovelace`; null without WebGPU. */
  readonly adapter_class: string | null
  readonly features: readonly string[]
  readonly limits: Readonly<Record<string, number>>
  readonly cross_origin_isolated: boolean
  readonly wasm_threads: number
  /** Null where the browser does not say. An estimate: any write may still fail. */
  readonly storage_free_bytes: number | null
  readonly online: boolean
}

const wantedFeatures = ['shader-f16', 'timestamp-query'] as const
const reportedLimits = ['maxBufferSize', 'maxStorageBufferBindingSize', 'maxComputeWorkgroupStorageSize'] as const

/** Describes this machine. Never throws: what cannot be found out is absent. */
export async function probeDevice(threads: number): Promise<DeviceReport> {
  const adapter = await adapterOf().catch(() => null)
  const storage = await navigator.storage?.estimate().catch(() => undefined)
  return {
    adapter_class: adapter === null ? null : adapterClass(adapter),
    features: adapter === null ? [] : wantedFeatures.filter((name) => adapter.features.has(name)),
    limits: Object.fromEntries(adapter === null ? [] : reportedLimits.map((name) => [name, adapter.limits[name]])),
    cross_origin_isolated: globalThis.crossOriginIsolated,
    wasm_threads: threads,
    storage_free_bytes:
      storage?.quota === undefined || storage.usage === undefined ? null : storage.quota - storage.usage,
    online: navigator.onLine,
  }
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
    throw new GenerationError('device_unavailable', 'WebGPU: no adapter, allowed is any; update the browser or its driver')
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
