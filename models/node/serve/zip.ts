/**
 * A ZIP of stored entries: how frames travel as one file.
 *
 * Nothing is compressed, since PNG already is. Times are the format's beginning (1980), so bytes depend on the entries
 * alone. Format: PKWARE APPNOTE 6.3.10, §4.3.7, §4.3.12 and §4.3.16; below 4 GiB and 65,536 entries.
 */

import { crc32 } from 'node:zlib'

export interface ZipEntry {
  readonly name: string
  readonly bytes: Uint8Array
}

const earliestDate = 0x0021

/** The file. Names are ASCII. */
export function storedZip(entries: readonly ZipEntry[]): Uint8Array {
  const [body, directory]: [Buffer[], Buffer[]] = [[], []]
  let offset = 0
  for (const { name, bytes } of entries) {
    const label = Buffer.from(name, 'ascii')
    const facts = entryFacts(bytes, label.length)
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), facts, label, bytes])
    const where = Buffer.alloc(14)
    where.writeUInt32LE(offset, 10)
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\0', 'latin1'), facts, where, label]))
    body.push(local)
    offset += local.length
  }
  const central = Buffer.concat(directory)
  return Buffer.concat([...body, central, endRecord(entries.length, central.length, offset)])
}

/** Version, flags, method, time, date, checksum, two sizes, name and extra lengths: the same in both headers. */
function entryFacts(bytes: Uint8Array, nameLength: number): Buffer {
  const facts = Buffer.alloc(26)
  facts.writeUInt16LE(20, 0)
  facts.writeUInt16LE(earliestDate, 8)
  facts.writeUInt32LE(crc32(bytes), 10)
  facts.writeUInt32LE(bytes.length, 14)
  facts.writeUInt32LE(bytes.length, 18)
  facts.writeUInt16LE(nameLength, 22)
  return facts
}

function endRecord(count: number, length: number, offset: number): Buffer {
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(count, 8)
  end.writeUInt16LE(count, 10)
  end.writeUInt32LE(length, 12)
  end.writeUInt32LE(offset, 16)
  return end
}
