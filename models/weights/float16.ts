/**
 * IEEE 754 binary16 and back: round to nearest, ties to even; overflow to infinity, subnormals kept. And bfloat16, the
 * upper half of a float32, which released weights use and GPUs of the web do not know.
 */

const scratch = new Float32Array(1)
const bits = new Uint32Array(scratch.buffer)

/** float32 values as binary16 bit patterns. */
export function toFloat16(values: ArrayLike<number>): Uint16Array {
  const halves = new Uint16Array(values.length)
  for (let index = 0; index < values.length; index++) halves[index] = halfOf(values[index] as number)
  return halves
}

/** Binary16 bit patterns as float32, exactly. */
export function fromFloat16(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length)
  for (let index = 0; index < halves.length; index++) values[index] = numberOf(halves[index] as number)
  return values
}

/** bfloat16 bit patterns as float32, exactly. */
export function fromBfloat16(halves: Uint16Array): Float32Array {
  const words = new Uint32Array(halves.length)
  for (let index = 0; index < halves.length; index++) words[index] = (halves[index] as number) << 16
  return new Float32Array(words.buffer)
}

function halfOf(value: number): number {
  scratch[0] = value
  const word = bits[0] as number
  const sign = (word >>> 16) & 0x8000
  const magnitude = word & 0x7fffffff
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude < 0x33000000) return sign
  if (magnitude >= 0x38800000) return sign | rounded(magnitude - 0x38000000, 13)
  const shift = 126 - (magnitude >>> 23)
  return sign | rounded((magnitude & 0x7fffff) | 0x800000, shift)
}

/** word >> shift, to nearest, ties to even. */
function rounded(word: number, shift: number): number {
  const half = 1 << (shift - 1)
  const kept = word >>> shift
  const rest = word & ((1 << shift) - 1)
  return rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept
}

function numberOf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 31
  const fraction = half & 0x3ff
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
