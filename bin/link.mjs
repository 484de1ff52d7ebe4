/**
 * Lets npx know this checkout, at the end of `npm ci`: so that the first `npx zoetrope` takes as long as every other.
 *
 * npx runs a package's own command through a link in its cache. Making it takes longer than a clip does, and Node's
 * cache of compiled sources fills on the way. An install must not fail for that, so what goes wrong here is let go: the
 * first command makes up for it.
 */

import { spawnSync } from 'node:child_process'

spawnSync('npx', ['zoetrope', '--help'], { stdio: 'ignore', timeout: 30_000 })
