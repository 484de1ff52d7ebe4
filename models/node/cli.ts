/**
 * The command line: `zoetrope generate | serve | import | inspect | train | distill | evaluate | bench | keys | sheet`.
 *
 * Finds the command, reads its options, turns failures into one sentence and an exit code: 2 for a command line that
 * cannot be understood, 1 for what failed while running, 130 after Ctrl-C.
 */

import { errorKinds, GenerationError } from '../../shared/errors.ts'
import { type Command, helpOf, readArguments, type Surroundings } from './command.ts'

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  generate: async () => (await import('./commands/generate.ts')).generateCommand,
  serve: async () => (await import('./commands/serve.ts')).serveCommand,
  train: async () => (await import('./commands/train.ts')).trainCommand,
  distill: async () => (await import('./commands/distill.ts')).distillCommand,
  evaluate: async () => (await import('./commands/evaluate.ts')).evaluateCommand,
  bench: async () => (await import('./commands/bench.ts')).benchCommand,
  import: async () => (await import('./commands/import.ts')).importCommand,
  inspect: async () => (await import('./commands/inspect.ts')).inspectCommand,
  keys: async () => (await import('./commands/keys.ts')).keysCommand,
  sheet: async () => (await import('./commands/sheet.ts')).sheetCommand,
}

/** Runs a command line; gives the exit code. */
export async function main(words: readonly string[]): Promise<number> {
  const [name, ...rest] = words
  const json = words.includes('--json')
  const stop = interruption()
  try {
    if (name === undefined || name === '--help' || name === '-h') {
      process.stdout.write(await overview())
      return name === undefined ? 2 : 0
    }
    const load = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (load === undefined) {
      throw new GenerationError(
        'unknown_parameter',
        `command: got ${name}, allowed are ${Object.keys(commands).join(', ')}`,
      )
    }
    const command = await load()
    const given = readArguments(rest, command.options)
    if (given.flag('help')) process.stdout.write(helpOf(name, command))
    else await command.run(given, surroundings(json, stop.signal))
    return stop.signal.aborted ? 130 : 0
  } catch (error) {
    return report(error, json, stop.signal)
  } finally {
    stop.release()
  }
}

async function overview(): Promise<string> {
  const rows = await Promise.all(
    Object.entries(commands).map(async ([name, load]) => `  ${name.padEnd(12)}${(await load()).summary}`),
  )
  return [
    'zoetrope COMMAND [options]',
    '',
    ...rows,
    '',
    'zoetrope COMMAND --help shows the options of a command.',
    '',
  ].join('\n')
}

function surroundings(json: boolean, signal: AbortSignal): Surroundings {
  const terminal = process.stderr.isTTY === true
  return {
    signal,
    say: (line) => {
      if (!json) process.stderr.write(`${terminal ? '\x1b[2K\r' : ''}${line}\n`)
    },
    show: (line) => {
      if (!json && terminal) process.stderr.write(`\x1b[2K\r${line}`)
    },
    emit: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`)
    },
  }
}

/** The first Ctrl-C asks the command to stop at a safe point, the second ends the process. */
function interruption() {
  const controller = new AbortController()
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort(new GenerationError('aborted', 'interrupted'))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const release = () => {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
  return { signal: controller.signal, release }
}

function report(error: unknown, json: boolean, signal: AbortSignal): number {
  if (signal.aborted) {
    process.stderr.write('\nzoetrope: interrupted; nothing half-written was left\n')
    return 130
  }
  const known = error instanceof GenerationError
  const { code, message } = known ? error : { code: 'internal' as const, message: String(error) }
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`)
  process.stderr.write(`zoetrope: ${message}\n`)
  if (!known && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  return errorKinds[code].status === 422 ? 2 : 1
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
