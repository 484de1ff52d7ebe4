/**
 * The protobuf wire format, as far as writing needs it: varints, length-delimited fields, packed numbers.
 *
 * Knows no message; encode.ts does. Format: protobuf.dev, "Encoding". A message is one buffer that grows, and what is
 * nested in it is written where it belongs: a graph has tens of thousands of fields, and an array for each would cost
 * more than all else that is written.
 */

const textEncoder = new TextEncoder()

/** An empty message. */
export const message = (): Message => new Message()

/** Each call appends a field and returns the message. */
export class Message {
  #bytes = new Uint8Array(1024)
  #length = 0

  /** What is written; shares memory with the message, which is to be left alone from then on. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Unsigned or two's-complement 64-bit varint; exact for safe integers. */
  integer(field: number, value: number): Message {
    this.#key(field, 0)
    this.#varint(value)
    return this
  }

  float(field: number, value: number): Message {
    this.#key(field, 5)
    this.#reserve(4)
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true)
    this.#length += 4
    return this
  }

  text(field: number, value: string): Message {
    this.#key(field, 2)
    const start = this.#length++
    // Three bytes at most for each of JavaScript's sixteen bits.
    this.#reserve(3 * value.length)
    const { written } = textEncoder.encodeInto(value, this.#bytes.subarray(this.#length))
    this.#length += written
    return this.#measured(start)
  }

  data(field: number, value: Uint8Array): Message {
    this.#key(field, 2)
    this.#varint(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** A message of its own, which `write` fills. */
  message(field: number, write: (inner: Message) => unknown): Message {
    this.#key(field, 2)
    const start = this.#length++
    write(this)
    return this.#measured(start)
  }

  /** Packed varints. */
  integers(field: number, values: readonly number[]): Message {
    return this.message(field, () => {
      for (const value of values) this.#varint(value)
    })
  }

  /** Writes before what has come since `start` how long it is; one byte is kept for that, and most needs no more. */
  #measured(start: number): Message {
    const size = this.#length - start - 1
    let bytes = 1
    for (let rest = size; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++
    // Before going back to the start: growing keeps nothing that lies beyond the length.
    this.#reserve(longestVarint)
    if (bytes > 1) this.#bytes.copyWithin(start + bytes, start + 1, this.#length)
    this.#length = start
    this.#varint(size)
    this.#length += size
    return this
  }

  #key(field: number, wire: number): void {
    this.#varint(field * 8 + wire)
  }

  /** Base-128 groups, least significant first; negative numbers as 64-bit two's complement. */
  #varint(value: number): void {
    if (!Number.isSafeInteger(value)) throw new RangeError(`varint: got ${value}, allowed is a safe integer`)
    this.#reserve(longestVarint)
    if (value < 0) {
      let rest = BigInt.asUintN(64, BigInt(value))
      for (; rest >= 0x80n; rest >>= 7n) this.#bytes[this.#length++] = Number(rest & 0x7fn) + 0x80
      this.#bytes[this.#length++] = Number(rest)
      return
    }
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#length++] = (rest % 0x80) + 0x80
    this.#bytes[this.#length++] = rest
  }

  #reserve(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length))
    larger.set(this.bytes())
    this.#bytes = larger
  }
}

/** Seven of 64 bits to a byte. */
const longestVarint = 10
