import { describe, expect, it } from 'vitest'
import type { Job } from '../shared/job.ts'
import { fakeVideo } from '../test/fake-provider.ts'
import { fakeUpstream, knock, newTenant } from './front-door.ts'

describe('from one POST to a stored video', () => {
  it('answers the health route without a credential', async () => {
    const response = await knock('/healthz')
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }])
    expect(response.headers.get('request-id')).toMatch(/^req_[a-z2-7]{26}$/)
  })

  it('runs a request on the node and serves exactly its bytes', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const response = await caller.call(
      'POST',
      '/v1/videos',
      { prompt: 'a blue bird flies left', seed: 7 },
      { prefer: 'wait=60' },
    )
    const job = (await response.json()) as Job
    expect([response.status, job.status, job.error]).toEqual([200, 'completed', null])
    expect(response.headers.get('preference-applied')).toBe('wait=60')
    expect([...node.executions.values()]).toEqual([1])
    const [output] = job.outputs
    const bytes = new Uint8Array(await (await knock(output?.url.replace('https://edge.test', '') ?? '')).arrayBuffer())
    expect(bytes).toEqual(fakeVideo(7))
    expect(job.receipt).toMatchObject({ seed: 7, outputs_sha256: [output?.sha256], content_key: job.content_key })
  })
})
