/**
 * The studio: a page where a prompt becomes a video on the visitor's device.
 *
 * Wires the form to the SDK and the SDK's events to the stage. State is small: the run in progress, the clip shown. A
 * run that a reload cut is taken up from its checkpoint.
 */

import { unknownWords } from '../../models/text/tokenizer.ts'
import type { Clip } from '../frames.ts'
import { type Client, type ClientEvent, createClient, GenerationError, type Job, type VideoRequest } from '../index.ts'
import { chosen, megabytes, offerModels, offerParameters, requestOf } from './choices.ts'
import { byId, create } from './elements.ts'
import { createGallery, type Gallery, type Kept } from './gallery.ts'
import { allowOwnScripts, keepRuntime, registerOffline } from './offline.ts'
import { createSheet, promptOf } from './sheet.ts'
import { createStage } from './stage.ts'

const examples = [
  'a blue bird flies left over the sea',
  'an orange fox jumps in the snow',
  'a purple rocket moves up quickly in the night sky',
  'a green frog spins in the meadow, the camera zooms in',
  'a pink balloon grows in the city',
] as const

const form = byId('form', HTMLFormElement)
const prompt = byId('prompt', HTMLTextAreaElement)
const make = byId('make', HTMLButtonElement)
const stop = byId('stop', HTMLButtonElement)
const problem = byId('problem', HTMLElement)
const download = byId('download', HTMLAnchorElement)
const choice = (id: string) => byId(id, HTMLSelectElement)

allowOwnScripts()
const stage = createStage()
const sheet = createSheet(byId('sheet', HTMLElement), (text) => {
  prompt.value = text
  heed()
})
let client: Client = clientFor('')
let job: Job | undefined
let shown: Kept | undefined
let gallery: Gallery | undefined

function clientFor(provider: string): Client {
  return createClient({
    inferenceMode: 'only_on_device',
    manifestKeys: __MANIFEST_KEYS__,
    ...(provider === 'wasm' ? { executionProvider: 'wasm' } : {}),
  })
}

/** What the prompt says, pressed on the sheet; words the model does not know, named. */
function heed(): void {
  sheet.read(prompt.value)
  const hint = byId('hint', HTMLElement)
  const [strange] = unknownWords(prompt.value)
  if (strange === undefined) {
    hint.textContent = ''
    return
  }
  const { word, suggestion } = strange
  if (suggestion === undefined) {
    hint.textContent = `The model has no word “${word}”; it will not show.`
    return
  }
  const mend = create('button', { type: 'button', textContent: suggestion })
  mend.addEventListener('click', () => {
    // Words are letters and digits alone, so nothing in them is an operator.
    prompt.value = prompt.value.replace(new RegExp(word, 'iu'), suggestion)
    heed()
    prompt.focus()
  })
  hint.replaceChildren(`The model has no word “${word}”. Did you mean `, mend, '?')
}

function say(state: 'idle' | 'ready' | 'busy', text: string): void {
  byId('place', HTMLElement).dataset.state = state
  byId('place-text', HTMLElement).textContent = text
}

async function describeDevice(): Promise<void> {
  const { adapter_class: adapter, online } = await client.device.probe()
  const gpu = adapter !== 'none' && choice('provider').value !== 'wasm'
  say('ready', `${gpu ? 'On your graphics processor' : 'On your processor'}${online ? '' : ', offline'}`)
}

const pendingKey = 'zoetrope-pending'

/** Runs a request to its end; what fails is said beside the button. */
async function run(request: VideoRequest): Promise<void> {
  // Drawn here, so that a run cut by a reload can go on with the same noise.
  const seeded = { ...request, seed: request.seed ?? (crypto.getRandomValues(new Uint32Array(1))[0] as number) }
  localStorage.setItem(pendingKey, JSON.stringify(seeded))
  working(true)
  try {
    job = await client.videos.create(seeded)
    const clip = await follow(job)
    const { outputs, receipt } = await job.result()
    const [output] = outputs
    if (output?.blob === undefined || receipt === null) throw new Error('the run ended without a file')
    const kept: Kept = { id: job.id, madeAt: Date.now(), request: seeded, receipt, clip, file: output.blob }
    await gallery?.add(kept)
    present(kept)
    localStorage.removeItem(pendingKey)
  } catch (error) {
    tell(error)
  } finally {
    job?.[Symbol.dispose]()
    job = undefined
    working(false)
  }
}

/** Shows a run while it goes, and gathers its frames. */
async function follow(run: Job): Promise<Clip> {
  let clip: Clip | undefined
  for await (const event of run.events()) {
    if (event.type === 'status') clip ??= blankClip(run)
    if (event.type === 'progress') progress(event)
    if (event.type === 'warning') byId('hint', HTMLElement).textContent = event.message
    if (event.type === 'preview' && event.frames !== undefined && clip !== undefined) {
      const { width, height, count, pixels } = event.frames
      stage.refresh({ frames: count, width, height, fps: clip.fps, pixels })
    }
    if (event.type === 'part' && 'pixels' in event.part && clip !== undefined)
      clip.pixels.set(event.part.pixels, event.part.first * clip.width * clip.height * 3)
  }
  if (clip === undefined) throw new Error('the run said nothing')
  return clip
}

function blankClip(run: Job): Clip | undefined {
  const { num_frames: frames, width, height, fps } = run.state().effective as Record<string, number>
  if (frames === undefined || width === undefined || height === undefined || fps === undefined) return undefined
  return { frames, width, height, fps, pixels: new Uint8Array(frames * width * height * 3) }
}

const stageNames: Readonly<Record<string, string>> = {
  download: 'Fetching the model',
  denoise: 'Drawing',
  vae_decode: 'Developing frames',
  mux: 'Writing the file',
}

function progress({ stage: name, value, step, steps, etaMs }: Extract<ClientEvent, { type: 'progress' }>): void {
  const download = name === 'download' && steps !== undefined && step !== undefined
  byId('bar', HTMLProgressElement).value = download ? step / steps : value
  const done =
    step === undefined || steps === undefined
      ? ''
      : download
        ? `, ${megabytes(step)} of ${megabytes(steps)}`
        : `, step ${step} of ${steps}`
  const left = etaMs === undefined || etaMs < 1000 ? '' : `, about ${Math.ceil(etaMs / 1000)} s left`
  byId('stage-text', HTMLElement).textContent = `${stageNames[name] ?? name}${done}${left}`
}

function working(busy: boolean): void {
  make.disabled = busy
  stop.hidden = !busy
  byId('progress', HTMLElement).hidden = !busy
  byId('after', HTMLElement).hidden = busy || shown === undefined
  if (busy) {
    problem.hidden = true
    byId('bar', HTMLProgressElement).removeAttribute('value')
    byId('stage-text', HTMLElement).textContent = 'Getting ready'
    say('busy', 'Working on this device')
  } else void describeDevice()
}

function tell(error: unknown): void {
  localStorage.removeItem(pendingKey)
  if (error instanceof GenerationError && error.code === 'aborted') return
  problem.textContent = error instanceof Error ? error.message : String(error)
  problem.hidden = false
}

/** Puts a finished clip on the stage, with what can be done to it. */
function present(kept: Kept): void {
  shown = kept
  stage.show(kept.clip, `Video: ${kept.request.prompt}`)
  byId('after', HTMLElement).hidden = false
  if (download.href.startsWith('blob:')) URL.revokeObjectURL(download.href)
  download.href = URL.createObjectURL(kept.file)
  download.download = `${fileName(kept)}.mp4`
  const { receipt } = kept
  const rows: Readonly<Record<string, string>> = {
    Seed: String(receipt.seed),
    Model: `${receipt.model}@${receipt.revision}`,
    Size: `${kept.clip.width} × ${kept.clip.height}, ${kept.clip.frames} frames`,
    Steps: String(receipt.effective.num_inference_steps),
    Ran: `${receipt.runtime} on ${receipt.execution_provider}${receipt.adapter_class === null ? '' : ` (${receipt.adapter_class})`}`,
    Weights: receipt.weights_sha256,
    File: receipt.outputs_sha256.join(' '),
  }
  const cells = Object.entries(rows).flatMap(([name, value]) => [create('dt', {}, name), create('dd', {}, value)])
  byId('receipt', HTMLElement).replaceChildren(...cells)
}

const fileName = ({ request, receipt }: Kept) =>
  `${(request.prompt ?? 'video')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)}-${receipt.seed}`

async function saveGif(kept: Kept): Promise<void> {
  const { encodeGif } = await import('../gif.ts')
  const url = URL.createObjectURL(new Blob([encodeGif(kept.clip)], { type: 'image/gif' }))
  create('a', { href: url, download: `${fileName(kept)}.gif` }).click()
  // The click has started the download; the address may go.
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

form.addEventListener('submit', (event) => {
  event.preventDefault()
  if (job === undefined && !make.disabled) void run(requestOf())
})
form.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
})
prompt.addEventListener('input', heed)
stop.addEventListener('click', () => job?.cancel())
choice('model').addEventListener('change', offerParameters)
choice('provider').addEventListener('change', () => {
  client[Symbol.dispose]()
  client = clientFor(choice('provider').value)
  void describeDevice()
})
byId('remix', HTMLButtonElement).addEventListener('click', () => {
  if (shown === undefined || make.disabled) return
  const { seed: _, ...again } = shown.request
  prompt.value = again.prompt ?? ''
  heed()
  void run(again)
})
byId('download-gif', HTMLButtonElement).addEventListener('click', () => shown !== undefined && void saveGif(shown))
for (const kind of ['online', 'offline']) addEventListener(kind, () => void describeDevice())

async function start(): Promise<void> {
  // Read before anything can be begun: a run that begins below leaves its own mark.
  const pending = localStorage.getItem(pendingKey)
  prompt.value = examples[Math.floor(Math.random() * examples.length)] ?? promptOf({})
  heed()
  await describeDevice()
  gallery = await createGallery((kept) => {
    prompt.value = kept.request.prompt ?? ''
    heed()
    present(kept)
    scrollTo({ top: 0, behavior: 'smooth' })
  })
  make.disabled = false
  await registerOffline()
  offerModels(await client.models.list())
  if (pending !== null && !make.disabled) {
    const request = JSON.parse(pending) as VideoRequest
    prompt.value = request.prompt ?? ''
    heed()
    await run(request)
  } else await readyModel()
}

/** Fetches the standard model ahead, so that the first press draws at once and the next visit needs no network. */
async function readyModel(): Promise<void> {
  const card = chosen()
  if (card === undefined) return
  const saving = (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true
  if (saving) return
  await client.models.prefetch(card.id, {
    onProgress: (received, total) => {
      if (received < total && job === undefined)
        say('busy', `Fetching the model, ${megabytes(received)} of ${megabytes(total)}`)
    },
  })
  await keepRuntime()
  if (job === undefined) await describeDevice()
}

start().catch(tell)
