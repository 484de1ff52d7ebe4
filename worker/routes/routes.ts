/**
 * Every route there is. The app serves this list and OpenAPI describes it, so neither can know more than the other.
 */

import type { Route } from '../context.ts'
import { assetRoutes } from './assets.ts'
import { catalogRoutes } from './catalog.ts'
import { compatRoutes } from './compat-openai.ts'
import { contentRoutes } from './content.ts'
import { credentialRoutes } from './credentials.ts'
import { hookRoutes } from './hooks.ts'
import { videoRoutes } from './videos.ts'

export const routes: readonly Route[] = [
  ...videoRoutes,
  ...contentRoutes,
  ...catalogRoutes,
  ...assetRoutes,
  ...credentialRoutes,
  ...hookRoutes,
  ...compatRoutes,
]
