/**
 * Takes the clock out of an MP4: its encoder writes when the file was made, so equal frames would give other bytes.
 *
 * ISO/IEC 14496-12, §8.2.2, §8.3.2 and §8.4.2: mvhd, tkhd and mdhd begin with version and flags, then the times of
 * creation and modification, of four bytes each in version 0 and of eight in version 1.
 */

const containers = new Set(['moov', 'trak', 'mdia'])
const dated = new Set(['mvhd', 'tkhd', 'mdhd'])
const headerBytes = 8

/** Sets every time to zero, in place. */
export function clearTimes(bytes: Uint8Array, start = 0, end = bytes.length): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let offset = start
  while (offset + headerBytes <= end) {
    const size = view.getUint32(offset)
    const type = String.fromCharCode(...bytes.subarray(offset + 4, offset + headerBytes))
    // A box of size 0 or 1 reaches to the end or is longer than 4 GiB; the boxes looked for are neither.
    if (size < headerBytes || offset + size > end) return
    const content = offset + headerBytes
    if (containers.has(type)) clearTimes(bytes, content, offset + size)
    if (dated.has(type)) bytes.fill(0, content + 4, content + 4 + (bytes[content] === 1 ? 16 : 8))
    offset += size
  }
}
