import { describe, expect, it } from 'vitest'
import { createCredential } from './credential.ts'

const key = 'zoe_test_aaaaaaaaaaaa_bbbb'

interface Asked {
  readonly url: string
  readonly authorization: string | null
  readonly body: unknown
}

/** A service that mints numbered tokens, and what it was asked. */
function service(status = 201) {
  const asked: Asked[] = []
  let now = 1_000_000
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const { url, headers } = new Request(input, init)
    asked.push({ url, authorization: headers.get('Authorization'), body: JSON.parse(String(init?.body)) })
    return Response.json({ token: `token-${asked.length}` }, { status })
  }
  const credential = createCredential({ baseUrl: 'https://site.test', subject: 'me', fetch, now: () => now })
  return {
    asked,
    credential,
    pass: (ms: number) => {
      now += ms
    },
  }
}

describe('the credential of the studio', () => {
  it('is not given at first, and says what to do', async () => {
    const { credential } = service()
    expect(credential.given()).toBe(false)
    await expect(credential.token()).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  it('uses a browser token as it is and asks nobody', async () => {
    const { credential, asked } = service()
    credential.set('  header.claims.signature ')
    expect([credential.given(), await credential.token(), asked]).toEqual([true, 'header.claims.signature', []])
  })

  it('sends an API key to one address alone, for a token of this origin and subject', async () => {
    const { credential, asked } = service()
    credential.set(key)
    expect(await credential.token()).toBe('token-1')
    expect(asked).toEqual([
      {
        url: 'https://site.test/v1/tokens',
        authorization: `Bearer ${key}`,
        body: { ttl_s: 600, max_jobs: 100, max_cost_usd: '10', subject: 'me', origin: 'https://site.test' },
      },
    ])
  })

  it('mints again before the token runs out, and once for callers at the same time', async () => {
    const { credential, asked, pass } = service()
    credential.set(key)
    expect(await Promise.all([credential.token(), credential.token()])).toEqual(['token-1', 'token-1'])
    pass(539_000)
    expect(await credential.token()).toBe('token-1')
    pass(2_000)
    expect(await credential.token()).toBe('token-2')
    expect(asked).toHaveLength(2)
  })

  it('forgets the tokens of another key', async () => {
    const { credential } = service()
    credential.set(key)
    await credential.token()
    credential.set(`${key}c`)
    expect(await credential.token()).toBe('token-2')
    credential.set('')
    expect(credential.given()).toBe(false)
  })

  it('lets requests wait where the site is only files', async () => {
    const { credential } = service(404)
    credential.set(key)
    await expect(credential.token()).rejects.toMatchObject({ code: 'offline', retryable: true })
  })

  it.each(['zoe_ü', 'two words', 'x\ny', 'x'.repeat(4097), '💥'])('refuses %j without repeating it', async (text) => {
    const { credential, asked } = service()
    credential.set(text)
    const failure = await credential.token().catch((error: Error) => error)
    expect(failure).toMatchObject({ code: 'unauthenticated' })
    expect((failure as Error).message).not.toContain(text)
    expect(asked).toEqual([])
  })
})
