/**
 * The Worker's entry: for now a health route, so that the house stands on its real foundation.
 */

import { Hono } from 'hono'

const app = new Hono()

app.get('/healthz', (context) => context.json({ status: 'ok' }))

// Cloudflare's platform wants the handler as the default export.
export default app
