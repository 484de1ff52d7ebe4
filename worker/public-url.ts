/**
 * Which addresses the service may be sent to by its users: https on 443, to a public host name.
 *
 * Only webhooks go where users say. An address in numbers, in whatever spelling, is never allowed, and redirects are
 * never followed (the caller's duty). A name that resolves to a private address is beyond a Worker's sight; the
 * platform does not route there.
 */

import { GenerationError } from '../shared/errors.ts'

/** Names that never leave a machine or a house (RFC 6761, RFC 6762, RFC 8375, RFC 9476). */
const privateNames =
  /(^|\.)(localhost|local|internal|intranet|private|corp|home|lan|arpa|test|example|invalid|onion|alt)$/

/**
 * Checks an address.
 * @throws GenerationError invalid_parameter saying what is wrong with it.
 */
export function publicUrl(text: string, pointer: string): URL {
  const refuse = (why: string): never => {
    throw new GenerationError('invalid_parameter', `url: ${why}, allowed is https://host/path on a public host`, {
      pointer,
    })
  }
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return refuse('is no address')
  }
  if (text !== text.trim() || /[\0-\x20\\]/.test(text)) refuse('holds blanks or backslashes')
  if (url.protocol !== 'https:') refuse(`its scheme is ${url.protocol}`)
  if (url.port !== '') refuse(`its port is ${url.port}`)
  if (url.username !== '' || url.password !== '') refuse('it carries credentials')
  if (url.hash !== '') refuse('it carries a fragment')
  const host = url.hostname.replace(/\.$/, '').toLowerCase()
  // The parser has turned every spelling of an IPv4 address into dotted decimals by now.
  if (host.startsWith('[') || /^[\d.]+$/.test(host)) refuse('its host is an address in numbers')
  if (!host.includes('.') || privateNames.test(host)) refuse(`its host ${host} is not public`)
  if (!/^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/.test(host)) {
    refuse(`its host ${host} is no host name`)
  }
  return url
}
