import { describe, expect, it } from 'vitest'
import app from './index.ts'

describe('worker', () => {
  it('answers the health route', async () => {
    const response = await app.request('/healthz')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ status: 'ok' })
  })

  it('answers an unknown route with 404', async () => {
    expect((await app.request('/nowhere')).status).toBe(404)
  })
})
