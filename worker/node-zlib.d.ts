/**
 * The two functions of node:zlib that the Worker uses; its own types do not describe the modules of Node it has.
 */

declare module 'node:zlib' {
  export function deflateRawSync(data: Uint8Array): Uint8Array<ArrayBuffer>
  export function inflateRawSync(data: Uint8Array | ArrayBuffer): Uint8Array<ArrayBuffer>
}
