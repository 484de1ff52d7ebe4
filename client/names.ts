/**
 * Wire names to TypeScript names and back, mechanically: snake_case ↔ camelCase, keys only, at every depth.
 *
 * Keys of maps that callers fill (`metadata`, `provider_options`) are data, not names, and stay.
 */

const opaque: ReadonlySet<string> = new Set(['metadata', 'provider_options', 'providerOptions', 'receipt', 'envelope'])

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S

/** The same data under camel-case names. */
export type CamelCase<T> = T extends readonly (infer E)[]
  ? readonly CamelCase<E>[]
  : T extends object
    ? { [K in keyof T as K extends string ? Camel<K> : K]: CamelCase<T[K]> }
    : T

export const camelCase = (data: unknown): unknown =>
  renamed(data, (key) => key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()))

export const snakeCase = (data: unknown): unknown =>
  renamed(data, (key) => key.replace(/[A-Z]|(?<=[a-z])[0-9]/g, (letter) => `_${letter.toLowerCase()}`))

function renamed(data: unknown, rename: (key: string) => string): unknown {
  if (Array.isArray(data)) return data.map((each) => renamed(each, rename))
  if (data === null || typeof data !== 'object') return data
  const entries = Object.entries(data).map(([key, value]) => [
    rename(key),
    opaque.has(key) ? value : renamed(value, rename),
  ])
  return Object.fromEntries(entries)
}
