/**
 * The protobuf wire format, as far as writing needs it: varints, length-delimited fields, packed numbers.
 *
 * Knows no message; encode.ts does. Format: protobuf.dev, "Encoding". Fields are appended as chunks and joined once,
 * so a nested message costs one copy.
 */

export interface Message {
  readonly bytes: () => Uint8Array
  /** Unsigned or two's-complement 64-bit varint; exact for safe integers. */
  readonly integer: (field: number, value: number) => Message
  readonly float: (field: number, value: number) => Message
  readonly text: (field: number, value: string) => Message
  readonly data: (field: number, value: Uint8Array) => Message
  readonly message: (field: number, value: Message) => Message
  readonly integers: (field: number, values: readonly number[]) => Message
}

const textEncoder = new TextEncoder()

/** An empty message; each call appends a field and returns the message. */
export function message(): Message {
  const chunks: Uint8Array[] = []
  const append = (field: number, wire: number, ...parts: readonly Uint8Array[]): Message => {
    chunks.push(varint(field * 8 + wire), ...parts)
    return self
  }
  const delimited = (field: number, bytes: Uint8Array) => append(field, 2, varint(bytes.length), bytes)
  const self: Message = {
    bytes: () => join(chunks),
    integer: (field, value) => append(field, 0, varint(value)),
    float: (field, value) => append(field, 5, new Uint8Array(Float32Array.of(value).buffer)),
    text: (field, value) => delimited(field, textEncoder.encode(value)),
    data: delimited,
    message: (field, value) => delimited(field, value.bytes()),
    integers: (field, values) => delimited(field, join(values.map(varint))),
  }
  return self
}

/** Base-128 groups, least significant first; negative numbers as 64-bit two's complement. */
export function varint(value: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new RangeError(`varint: got ${value}, allowed is a safe integer`)
  if (value < 0) return bigVarint(BigInt.asUintN(64, BigInt(value)))
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80)
  bytes.push(rest)
  return Uint8Array.from(bytes)
}

function bigVarint(value: bigint): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) + 0x80)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.length, 0))
  let offset = 0
  for (const chunk of chunks) {
    whole.set(chunk, offset)
    offset += chunk.length
  }
  return whole
}
