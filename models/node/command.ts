/**
 * What a command of the CLI is, and how its options are read and explained.
 *
 * Options are one table per command: the parser, the help and the errors all come from it.
 */

import { type ParseArgsConfig, parseArgs } from 'node:util'
import { GenerationError } from '../../shared/errors.ts'

export interface OptionDescription {
  readonly kind: 'text' | 'number' | 'flag'
  /** Shown in the help, for example `FILE`. */
  readonly value?: string
  readonly help: string
  readonly short?: string
}

export type OptionTable = Readonly<Record<string, OptionDescription>>

/** Option values by name; absent where not given. */
export interface Arguments {
  readonly positionals: readonly string[]
  readonly text: (name: string) => string | undefined
  readonly number: (name: string) => number | undefined
  readonly flag: (name: string) => boolean
}

export interface Surroundings {
  readonly signal: AbortSignal
  /** A line for people; silent under --json. */
  readonly say: (line: string) => void
  /** A line that is overwritten by the next: progress. */
  readonly show: (line: string) => void
  /** The command's result for machines; silent without --json. */
  readonly emit: (value: unknown) => void
}

export interface Command {
  readonly summary: string
  readonly usage: string
  readonly options: OptionTable
  readonly run: (given: Arguments, surroundings: Surroundings) => Promise<void>
}

export const commonOptions = {
  json: { kind: 'flag', help: 'print one JSON value on standard output and nothing else' },
  help: { kind: 'flag', short: 'h', help: 'show this help' },
} as const satisfies OptionTable

/**
 * Reads a command line against a table.
 * @throws GenerationError unknown_parameter or invalid_parameter in one sentence.
 */
export function readArguments(words: readonly string[], table: OptionTable): Arguments {
  const all: OptionTable = { ...table, ...commonOptions }
  const options = Object.fromEntries(
    Object.entries(all).map(([name, { kind, short }]) => [
      name,
      { type: kind === 'flag' ? 'boolean' : 'string', ...(short ? { short } : {}) } as const,
    ]),
  )
  const { values, positionals } = parse(words, options, all)
  const text = (name: string) => (typeof values[name] === 'string' ? values[name] : undefined)
  return {
    positionals,
    text,
    flag: (name) => values[name] === true,
    number: (name) => {
      const given = text(name)
      if (given === undefined) return undefined
      const value = Number(given)
      if (given.trim() === '' || !Number.isFinite(value))
        throw new GenerationError('invalid_parameter', `--${name}: got “${given}”, allowed is a number`)
      return value
    },
  }
}

function parse(words: readonly string[], options: NonNullable<ParseArgsConfig['options']>, table: OptionTable) {
  try {
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true })
  } catch (error) {
    const unknown = /Unknown option '(-[^']*)'/.exec(String(error))?.[1]
    const allowed = Object.keys(table)
      .map((name) => `--${name}`)
      .join(', ')
    if (unknown !== undefined)
      throw new GenerationError('unknown_parameter', `${unknown}: is not an option here, allowed are ${allowed}`, {
        cause: error,
      })
    const [sentence] = (error instanceof Error ? error.message : String(error)).split('\n')
    throw new GenerationError('invalid_parameter', `${sentence?.replace(/\.$/, '')}; --help shows the options`, {
      cause: error,
    })
  }
}

/** The help text of one command. */
export function helpOf(name: string, { summary, usage, options }: Command): string {
  const rows = Object.entries({ ...options, ...commonOptions } as OptionTable).map(
    ([option, { short, value, help }]) => {
      const left = `${short === undefined ? '    ' : `-${short}, `}--${option}${value === undefined ? '' : ` ${value}`}`
      return `  ${left.padEnd(28)}${help}`
    },
  )
  return [`zoetrope ${name} ${usage}`, '', summary, '', 'Options', ...rows, ''].join('\n')
}
