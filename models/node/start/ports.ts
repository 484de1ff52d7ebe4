/**
 * Ports of this machine: the one that is wanted, or another where it is taken.
 */

import { once } from 'node:events'
import { createServer } from 'node:net'

const host = '127.0.0.1'
const stride = 10
const tries = 10

/** The wanted port, or one near it, or any. The next moment it may be taken again; who listens must cope. */
export async function freePort(wanted: number): Promise<number> {
  for (let attempt = 0; attempt < tries; attempt++) {
    const port = wanted + attempt * stride
    if (port <= 65535 && (await tryPort(port)) !== undefined) return port
  }
  return (await tryPort(0)) as number
}

/** The port that could be had, or undefined where it is taken. */
async function tryPort(port: number): Promise<number | undefined> {
  const server = createServer()
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch {
    return undefined
  }
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' ? address?.port : undefined
}
