/**
 * A toy Wan, imported by the command line as a user would: denoiser, decoder, text encoder and tokenizer.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { main } from '../../models/node/cli.ts'
import { writeRandomCheckpoint } from './random.ts'
import { toyTokenizer } from './tokenizer.ts'
import { toyT5, toyTaehv, toyWan } from './toys.ts'

/** The name that it is imported under. */
export const toyImport = 'toy-wan'

/**
 * Writes checkpoints below `place` and imports them into ZOETROPE_MODELS, which the caller has set.
 * @throws Error where an import fails.
 */
export async function importToyWan(place: string): Promise<void> {
  const [encoder, tokenizer] = [join(place, 'text_encoder'), join(place, 'tokenizer')]
  for (const folder of [encoder, tokenizer]) await mkdir(folder, { recursive: true })
  await writeFile(join(tokenizer, 'tokenizer.json'), JSON.stringify(toyTokenizer({ bytes: true })))
  const metadata = { config: '{"num_heads":2}' }
  await writeRandomCheckpoint(join(place, 'wan-dmd.safetensors'), toyWan, { original: true, metadata })
  await writeRandomCheckpoint(join(place, 'taew2_1.safetensors'), toyTaehv, { dtype: 'F32' })
  await writeRandomCheckpoint(join(encoder, 'model.safetensors'), toyT5)
  for (const file of ['wan-dmd.safetensors', 'taew2_1.safetensors', 'text_encoder']) {
    const status = await main(['import', join(place, file), '--as', toyImport, '--precision', 'q8', '--json'])
    if (status !== 0) throw new Error(`import of ${file} ended with ${status}`)
  }
}
