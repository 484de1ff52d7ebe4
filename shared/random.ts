/**
 * Random numbers that are the same bits everywhere: Philox 4×32-10 and a Gaussian built on it.
 *
 * Philox is a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): number n of
 * a stream is a function of (seed, stream, n), so any slice can be drawn alone. The Gaussian uses only operations that
 * IEEE 754 rounds exactly (+ − × ÷ √) with logarithm, sine and cosine of our own; an engine's Math may differ in the
 * last bit and is not asked.
 */

const multiplier0 = 0xd2511f53
const multiplier1 = 0xcd9e8d57
const weyl0 = 0x9e3779b9
const weyl1 = 0xbb67ae85

/** One block: four 32-bit words from a counter of four and a key of two words, written to `out`. */
export function philox(counter: ArrayLike<number>, key: ArrayLike<number>, out: Uint32Array): void {
  let [c0, c1, c2, c3] = [counter[0] as number, counter[1] as number, counter[2] as number, counter[3] as number]
  let [k0, k1] = [key[0] as number, key[1] as number]
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(multiplier0, c0)
    const low0 = Math.imul(multiplier0, c0)
    const high1 = multiplyHigh(multiplier1, c2)
    const low1 = Math.imul(multiplier1, c2)
    c0 = high1 ^ c1 ^ k0
    c1 = low1
    c2 = high0 ^ c3 ^ k1
    c3 = low0
    k0 = (k0 + weyl0) | 0
    k1 = (k1 + weyl1) | 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
}

/** Upper 32 bits of an unsigned product, by 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh] = [a & 0xffff, a >>> 16]
  const [bLow, bHigh] = [b & 0xffff, b >>> 16]
  const low = aLow * bLow
  const middle = aHigh * bLow + (low >>> 16)
  const cross = aLow * bHigh + (middle & 0xffff)
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + (cross >>> 16)) | 0
}

/** Fills `out` with 32-bit words `offset`, `offset + 1`, … of a stream. `offset` must be a multiple of four. */
function words(seed: number, stream: number, offset: number, out: Uint32Array): void {
  const counter = new Uint32Array(4)
  const key = Uint32Array.of(seed, stream)
  const block = new Uint32Array(4)
  for (let start = 0; start < out.length; start += 4) {
    const index = (offset + start) / 4
    counter[0] = index >>> 0
    counter[1] = Math.floor(index / 2 ** 32)
    philox(counter, key, block)
    const count = Math.min(4, out.length - start)
    for (let lane = 0; lane < count; lane++) out[start + lane] = block[lane] as number
  }
}

/**
 * Standard normal numbers `offset … offset + length` of a stream, as float32.
 * @param seed 0…2³²−1, the generation's seed; zero is a seed like any other.
 * @param stream 0…2³²−1, which use of the seed this is.
 */
export function gaussian(seed: number, stream: number, offset: number, length: number): Float32Array {
  const start = Math.floor(offset / 4) * 4
  const whole = new Uint32Array(Math.ceil((offset + length - start) / 4) * 4)
  words(seed, stream, start, whole)
  const values = new Float32Array(whole.length)
  for (let pair = 0; pair < whole.length; pair += 2) {
    // (0, 1], so that the logarithm is finite; Box & Muller 1958.
    const radius = Math.sqrt(-2 * logarithm(((whole[pair] as number) + 1) / 2 ** 32))
    const turn = (whole[pair + 1] as number) / 2 ** 32
    values[pair] = radius * cosineOfTurn(turn)
    values[pair + 1] = radius * cosineOfTurn(turn < 0.25 ? 0.25 - turn : turn - 0.25)
  }
  return values.subarray(offset - start, offset - start + length)
}

/** Natural logarithm of 0 < x ≤ 1 from rational operations: x = m·2ᵉ, then the atanh series of (m−1)/(m+1). */
function logarithm(x: number): number {
  let mantissa = x
  let exponent = 0
  while (mantissa < Math.SQRT1_2) {
    mantissa *= 2
    exponent -= 1
  }
  const s = (mantissa - 1) / (mantissa + 1)
  const z = s * s
  let series = 0
  for (let odd = 21; odd >= 1; odd -= 2) series = series * z + 1 / odd
  return exponent * Math.LN2 + 2 * s * series
}

/** cos(2π·turn) for 0 ≤ turn < 1: folded to an eighth of a circle, then the Taylor series. */
function cosineOfTurn(turn: number): number {
  const folded = turn > 0.5 ? 1 - turn : turn
  const sign = folded > 0.25 ? -1 : 1
  const quarter = folded > 0.25 ? 0.5 - folded : folded
  const angle = 6.283185307179586 * (quarter > 0.125 ? 0.25 - quarter : quarter)
  return sign * (quarter > 0.125 ? sine(angle) : cosine(angle))
}

/** Taylor series about zero, exact to double precision for |x| ≤ π/4. */
function sine(x: number): number {
  const z = x * x
  let series = 1
  for (let n = 16; n >= 2; n -= 2) series = 1 - (series * z) / (n * (n + 1))
  return x * series
}

function cosine(x: number): number {
  const z = x * x
  let series = 1
  for (let n = 16; n >= 2; n -= 2) series = 1 - (series * z) / (n * (n - 1))
  return series
}

/** A source of random choices; the same (seed, stream) gives the same choices in the same order. */
export interface RandomStream {
  /** In [0, 1), with 32 random bits. */
  readonly uniform: () => number
  readonly between: (low: number, high: number) => number
  /** 0 … count − 1. */
  readonly integer: (count: number) => number
  readonly pick: <T>(list: readonly T[]) => T
  readonly chance: (probability: number) => boolean
  readonly normal: () => number
}

export function randomStream(seed: number, stream = 0): RandomStream {
  const buffer = new Uint32Array(64)
  let [drawn, position, gaussians] = [0, buffer.length, 0]
  const word = (): number => {
    if (position === buffer.length) {
      words(seed, stream, drawn, buffer)
      drawn += buffer.length
      position = 0
    }
    return buffer[position++] as number
  }
  const uniform = () => word() / 2 ** 32
  const integer = (count: number) => Math.floor(uniform() * count)
  return {
    uniform,
    integer,
    between: (low, high) => low + (high - low) * uniform(),
    pick: (list) => {
      if (list.length === 0) throw new RangeError('pick: got an empty list, wants at least one element')
      return list[integer(list.length)] as (typeof list)[number]
    },
    chance: (probability) => uniform() < probability,
    // A stream of its own, so that choices and normals do not disturb each other.
    normal: () => gaussian(seed, (stream ^ 0x5eed) >>> 0, gaussians++, 1)[0] as number,
  }
}

/** Uses of a seed: each draws from a stream of its own. */
export const streams = { initial: 0, sampling: 1, decoding: 2, passes: 3 } as const
