import { readClip } from './models/world/oracles.ts'
import { renderClip } from './models/world/renderer.ts'
import { attributeNames, sampleAttributes } from './models/world/vocabulary.ts'

const N = +(process.argv[2] ?? 40)
const ok: Record<string, number> = {}
let t = 0
for (let i = 0; i < N; i++) {
  const a = sampleAttributes(0x9000000 + i, 'all')
  const c = renderClip(a, 0x9000000 + i)
  const s = performance.now()
  const r = readClip(c)
  t += performance.now() - s
  for (const k of attributeNames) {
    if (r[k].value === a[k]) ok[k] = (ok[k] ?? 0) + 1
    else
      console.log(
        k,
        a.puppet,
        a.colour,
        '|',
        a.action,
        '|',
        a.scene,
        a.camera,
        '->',
        r[k].value,
        r[k].confidence.toFixed(2),
      )
  }
}
console.log(N, ok, (t / N).toFixed(0), 'ms')
