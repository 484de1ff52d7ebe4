/**
 * What a cached answer is measured against: a bare Hono route with one KV read and one R2 head, and nothing else.
 */

import { Hono } from 'hono'

interface Bindings {
  readonly CATALOG: { get(name: string): Promise<string | null> }
  readonly BUCKET: { head(name: string): Promise<{ readonly size: number } | null> }
}

const app = new Hono<{ Bindings: Bindings }>()

app.get('/bare', async (context) => {
  const text = await context.env.CATALOG.get('bench')
  const object = await context.env.BUCKET.head('bench')
  return context.json({ text, size: object?.size })
})

// Cloudflare's platform wants the handler as the default export.
export default app
