/**
 * The protobuf wire format, as far as writing needs it: varints, length-delimited fields, packed numbers.
 *
 * Knows no message; encode.ts does. Format: protobuf.dev, "Encoding". A message is one buffer that grows: a graph has tens
 * of thousands of fields, and an array for each would cost more than all else that is written. A nested message costs one
 * copy.
 */

const textEncoder = new TextEncoder()

/** An empty message. */
export const message = (): Message => new Message()

/** Each call appends a field and returns the message. */
export class Message {
  #bytes = new Uint8Array(64)
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
    return this.#append(new Uint8Array(Float32Array.of(value).buffer))
  }

  text(field: number, value: string): Message {
    if (!isAscii(value)) return this.data(field, textEncoder.encode(value))
    this.#key(field, 2)
    this.#varint(value.length)
    this.#reserve(value.length)
    for (let index = 0; index < value.length; index++) this.#bytes[this.#length++] = value.charCodeAt(index)
    return this
  }

  data(field: number, value: Uint8Array): Message {
    this.#key(field, 2)
    this.#varint(value.length)
    return this.#append(value)
  }

  message(field: number, value: Message): Message {
    return this.data(field, value.bytes())
  }

  /** Packed varints. */
  integers(field: number, values: readonly number[]): Message {
    const packed = new Message()
    for (const value of values) packed.#varint(value)
    return this.message(field, packed)
  }

  #key(field: number, wire: number): void {
    this.#varint(field * 8 + wire)
  }

  #append(bytes: Uint8Array): Message {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
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

/** Names are, nearly all; the encoder’s call costs more than they do. */
function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) >= 0x80) return false
  return true
}

/** Seven of 64 bits to a byte. */
const longestVarint = 10
