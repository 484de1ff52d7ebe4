/**
 * `zoetrope import`: a checkpoint on disk becomes a model, or part of one.
 *
 * Says what the file is, what it lacks and under which licence it comes, then converts it. Nothing is fetched.
 */

import { basename } from 'node:path'
import { GenerationError } from '../../../shared/errors.ts'
import { type ReleasedPlanName, releasedPlans } from '../../../shared/released-plans.ts'
import { type Precision, precisions } from '../../weights/conversion.ts'
import { licenses } from '../../weights/licenses.ts'
import type { ImportedManifest } from '../../weights/manifest.ts'
import { parts, type Slot } from '../../weights/parts.ts'
import { recognise } from '../../weights/recognise.ts'
import { type OpenCheckpoint, openCheckpoints } from '../checkpoint-files.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { importedFolder, importPart, loadManifest, type PartPlan, planPart } from '../import.ts'

export const importCommand: Command = {
  summary: 'Make a model of a checkpoint: a .safetensors file, or a folder of them.',
  usage: 'PATH [options]',
  options: {
    as: { kind: 'text', value: 'ID', help: 'the model to make or to add to; named after the file when left out' },
    precision: { kind: 'text', value: 'P', help: `${precisions.join(', ')} (f16)` },
    plan: {
      kind: 'text',
      value: 'NAME',
      help: 'the steps a denoiser was distilled for; guessed from the file when left out',
    },
    'dry-run': { kind: 'flag', help: 'say what would be done and write nothing' },
  },
  run: runImport,
}

async function runImport(given: Arguments, surroundings: Surroundings): Promise<void> {
  const { signal, say, show, emit } = surroundings
  const began = performance.now()
  const [path, ...more] = given.positionals
  if (path === undefined || more.length > 0)
    throw new GenerationError('invalid_parameter', `import: got ${given.positionals.length} paths, allowed is one`)
  const precision = precisionOf(given.text('precision') ?? 'f16')
  const plan = planOf(given.text('plan'))
  const id = idOf(given.text('as') ?? basename(path))
  const folder = importedFolder()
  const checkpoints = await openCheckpoints(path)
  try {
    const plans = checkpoints.flatMap((checkpoint) => plansOf(checkpoint, precision, say))
    if (plans.length === 0) throw unknownFile(path, checkpoints)
    for (const { plan } of plans) describe(plan, precision, say)
    let manifest = await loadManifest(folder, id)
    if (!given.flag('dry-run')) {
      for (const each of plans)
        manifest = await importPart(each.plan, each.checkpoint, { folder, id, precision, plan, signal, show })
      for (const { plan } of plans) reportKept(manifest, parts[plan.part.kind].slot, say)
      const peak = process.resourceUsage().maxRSS / 1024
      say(`${id}: written to ${folder}${manifest?.plan === undefined ? '' : `, steps of ${manifest.plan}`}`)
      say(`  ${((performance.now() - began) / 1000).toFixed(1)} s, at most ${peak.toFixed(0)} MB of memory`)
    }
    const missing = missingSlots(manifest, plans)
    if (missing.length > 0) say(`${id}: to make videos it still wants ${missing.join(' and ')}; import them --as ${id}`)
    emit({ id, precision, dryRun: given.flag('dry-run'), parts: plans.map(({ plan }) => summaryOf(plan)), missing })
  } finally {
    for (const checkpoint of checkpoints) await checkpoint[Symbol.asyncDispose]()
  }
}

function plansOf(checkpoint: OpenCheckpoint, precision: Precision, say: (line: string) => void) {
  const { parts: found, doubts } = recognise(checkpoint)
  for (const doubt of doubts) say(`passed over: ${doubt}`)
  return found.map((part) => ({ plan: planPart(part, checkpoint, precision), checkpoint }))
}

function unknownFile(path: string, checkpoints: readonly OpenCheckpoint[]): GenerationError {
  const names = checkpoints.flatMap(({ headers }) =>
    Object.values(headers).flatMap(({ entries }) => [...entries.keys()]),
  )
  const known = Object.values(parts).map(({ title }) => title)
  const held = names.length === 0 ? 'no tensors' : `${names.length} tensors, the first ${names[0]}`
  return new GenerationError('model_format', `${path}: got ${held}; allowed are ${known.join(', ')}`)
}

function describe({ part, parameters, bytes, inPlace }: PartPlan, precision: Precision, say: (line: string) => void) {
  const { name, note } = licenses[part.kind]
  const sizes = Object.entries(part.config).filter(([, value]) => typeof value === 'number')
  const form = inPlace ? 'as it is' : `as ${precision}`
  say(`${parts[part.kind].title}: ${millions(parameters)} M parameters, ${megabytes(bytes)} MB ${form}`)
  say(`  ${sizes.map(([key, value]) => `${key} ${value}`).join(', ')}`)
  say(`  licence: ${name} (${note})`)
}

function reportKept(manifest: ImportedManifest | undefined, slot: Slot, say: (line: string) => void): void {
  const kept = manifest?.parts[slot]?.kept ?? []
  for (const { name, target, error } of kept.slice(0, 10))
    say(`  kept in ${target}: ${name} (error ${error.toFixed(3)})`)
  if (kept.length > 10) say(`  and ${kept.length - 10} more; the manifest lists them`)
}

/** What a pipeline needs and neither the model nor this import has. */
function missingSlots(manifest: ImportedManifest | undefined, plans: readonly { readonly plan: PartPlan }[]): string[] {
  const held = new Set<string>([
    ...Object.keys(manifest?.parts ?? {}),
    ...plans.map(({ plan }) => parts[plan.part.kind].slot),
  ])
  const wanted: Partial<Record<Slot, string>> = {
    denoiser: 'a denoiser',
    textEncoder: 'a text encoder',
    decoder: 'a decoder',
  }
  const missing = Object.entries(wanted).flatMap(([slot, title]) => (held.has(slot) ? [] : [title]))
  const mute = manifest?.parts.textEncoder !== undefined && manifest.tokenizer === undefined
  return mute ? [...missing, 'a tokenizer.json or spiece.model beside its text encoder'] : missing
}

const summaryOf = ({ part, parameters, bytes, inPlace }: PartPlan) => ({
  kind: part.kind,
  config: part.config,
  parameters,
  bytes,
  inPlace,
  license: licenses[part.kind].name,
})

const millions = (count: number): string => (count / 1e6).toFixed(count < 1e8 ? 2 : 0)
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(bytes < 1e8 ? 2 : 0)

function precisionOf(name: string): Precision {
  const precision = precisions.find((each) => each === name)
  if (precision === undefined)
    throw new GenerationError('invalid_parameter', `--precision: got ${name}, allowed are ${precisions.join(', ')}`)
  return precision
}

function planOf(name: string | undefined): ReleasedPlanName | undefined {
  if (name === undefined || Object.hasOwn(releasedPlans, name)) return name as ReleasedPlanName | undefined
  const allowed = Object.keys(releasedPlans).join(', ')
  throw new GenerationError('invalid_parameter', `--plan: got ${name}, allowed are ${allowed}`)
}

/** A model's name from a file's. */
function idOf(text: string): string {
  const id = text
    .replace(/\.safetensors$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
    .slice(0, 60)
  if (id === '') throw new GenerationError('invalid_parameter', `--as: got “${text}”, allowed are letters and digits`)
  return id
}
