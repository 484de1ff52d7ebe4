/**
 * What Vite reads.
 */

import { sdkConfig } from './build.ts'

// Vite wants its configuration as the default export.
export default sdkConfig()
