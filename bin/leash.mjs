/**
 * Runs a program that must not outlive whoever started it: `leash.mjs PROGRAM WORD…`, in a process group of its own.
 *
 * Standard input is the leash: when its other end closes, be it by a clean end or by SIGKILL, the program is asked to
 * stop and after five seconds its whole group is made to. wrangler, for one, leaves its workers running when it is
 * killed.
 */

import { spawn } from 'node:child_process'

const patience = 5000
const [program, ...words] = process.argv.slice(2)
const child = spawn(program, words, { stdio: ['ignore', 'inherit', 'inherit'] })

let stopping = false
function stop() {
  if (stopping) return
  stopping = true
  // The program alone: it knows best how to end what it has started.
  child.kill('SIGTERM')
  setTimeout(() => signalGroup('SIGKILL'), patience).unref()
}

/** The leader of the group is this process, so it hears the signal as well. */
function signalGroup(signal) {
  try {
    process.kill(-process.pid, signal)
  } catch {
    // The group is empty but for a process that is just ending.
  }
}

process.stdin.on('end', stop).on('error', stop).resume()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop)
child.on('error', (error) => {
  process.stderr.write(`${program}: cannot be started (${error.message})\n`)
  process.exit(127)
})
child.on('exit', (code) => {
  // What the program left behind goes too.
  stopping = true
  signalGroup('SIGTERM')
  process.exit(code ?? 1)
})
