import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, sources, violations } from './sources.ts'

describe('imports', () => {
  it('go one way', () => {
    const files = sources()
    expect(files.length).toBeGreaterThan(40)
    expect(files.flatMap((file) => violations(file, readFileSync(join(root, file), 'utf8')))).toEqual([])
  })

  it('are caught when they do not', () => {
    expect(violations('shared/x.ts', "import { a } from '../models/graph/graph.ts'")).toHaveLength(1)
    expect(violations('shared/x.ts', "import { readFile } from 'node:fs'")).toHaveLength(1)
    expect(violations('worker/x.ts', "import { a } from '../models/graph/graph.ts'")).toHaveLength(1)
    expect(violations('models/graph/x.ts', "import * as ort from 'onnxruntime-web/wasm'")).toHaveLength(1)
    expect(violations('client/x.ts', "import { a } from '../models/node/backend.ts'")).toHaveLength(1)
    expect(violations('client/x.ts', "import { a } from '../worker/index.ts'")).toHaveLength(1)
    expect(violations('models/graph/x.ts', "const { a } = await import('../node/backend.ts')")).toHaveLength(1)
    expect(violations('models/node/x.ts', "import { InferenceSession } from 'onnxruntime-node'")).toEqual([])
  })
})
