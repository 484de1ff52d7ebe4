/**
 * What Vite reads.
 */

import { studioConfig } from './build.ts'

// Vite wants its configuration as the default export.
export default studioConfig()
