import { trainCommand } from './models/node/commands/train.ts'
import { readArguments } from './models/node/command.ts'
const stop = new AbortController(); process.on('SIGTERM', () => stop.abort()); process.on('SIGINT', () => stop.abort())
await trainCommand.run(readArguments(process.argv.slice(2), trainCommand.options), { signal: stop.signal, say: (l) => console.log(new Date().toISOString().slice(11,19), l), show: () => {}, emit: () => {} })
