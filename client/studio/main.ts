/**
 * The studio: a page where a prompt becomes a video, on the visitor's device or at the service.
 *
 * Wires the form to the SDK and the SDK's events to the stage. State is small: the run in progress, the clip shown. A
 * run on the device that was cut, here by a reload or in a tab that is gone, is taken up from its checkpoint; one at the
 * service is the outbox's business.
 */

import { unknownWords } from '../../models/text/tokenizer.ts'
import { type Client, createClient, GenerationError, type Job, type VideoRequest } from '../index.ts'
import { nowhere } from '../router.ts'
import { chosen, megabytes, offered, offerModels, offerParameters, requestOf } from './choices.ts'
import { createCredential } from './credential.ts'
import { byId, create } from './elements.ts'
import { extendable, extensionOf, joined, lastFrameOf } from './extension.ts'
import { createGallery, type Gallery, type Kept } from './gallery.ts'
import { allowOwnScripts, keepRuntime, registerOffline } from './offline.ts'
import { abandonedRun, type KeptRun, keepRun, onLetGo } from './pending.ts'
import { createPlaces, mayWait } from './places.ts'
import { createPost, type Post } from './post.ts'
import { progressIn } from './progress.ts'
import { type Heed, received } from './received.ts'
import { fileName, formats, likeness, type Rival, rivalsOf, save, showReceipt, titleOf } from './result.ts'
import { createSheet, promptOf } from './sheet.ts'
import { createStage, still } from './stage.ts'
import { openNotes, openStorage, type Storage } from './storage.ts'

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
const key = byId('key', HTMLInputElement)
const choice = (id: string) => byId(id, HTMLSelectElement)

allowOwnScripts()
const notes = openNotes()
const stage = createStage()
const sheet = createSheet(byId('sheet', HTMLElement), (text) => {
  prompt.value = text
  heed()
})
const credential = createCredential({ baseUrl: location.origin, subject: subjectOf() })
let client: Client = clientNow()
/** Clients that a run still needs. */
const retired = new Set<Client>()
const places = createPlaces(() => client, requestOf, situationChanged)
let job: Job | undefined
let storage: Storage | undefined
let shown: Kept | undefined
let gallery: Gallery | undefined
let post: Post | undefined
/** What was cut and waits until this page is free. */
let left: KeptRun | undefined
let takingUp: Promise<void> = Promise.resolve()

/** A credential is the consent to use the cloud, so without one the client knows no service. */
function clientNow(): Client {
  return createClient({
    manifestKeys: __MANIFEST_KEYS__,
    ...(credential.given() ? { baseUrl: location.origin, tokenProvider: credential.token } : {}),
    ...(choice('provider').value === 'wasm' ? { executionProvider: 'wasm' } : {}),
  })
}

function renewClient(): void {
  retired.add(client)
  client = clientNow()
  dismissRetired()
  situationChanged()
  void readyModel().catch(tell)
}

function dismissRetired(): void {
  if (job !== undefined) return
  for (const each of retired) each[Symbol.dispose]()
  retired.clear()
}

/** Who this browser is to the service: jobs of one subject are seen together. No secret, and no name. */
function subjectOf(): string {
  const known = notes.get('zoetrope-subject') ?? ''
  const subject = /^[\x21-\x7e]{1,128}$/.test(known) ? known : `studio-${crypto.randomUUID()}`
  notes.set('zoetrope-subject', subject)
  return subject
}

/** What the prompt says, pressed on the sheet; words the model does not know, named. */
function heed(): void {
  sheet.read(prompt.value)
  soonRefresh()
  const hint = byId('hint', HTMLElement)
  const [strange] = unknownWords(prompt.value)
  if (strange === undefined) {
    hint.textContent = ''
    return
  }
  const { word, suggestion } = strange
  if (suggestion === undefined) {
    hint.replaceChildren('The model has no word “', create('bdi', {}, word), '”; it will not show.')
    return
  }
  const mend = create('button', { type: 'button', textContent: suggestion })
  mend.addEventListener('click', () => {
    // Words are letters and digits alone, so nothing in them is an operator.
    prompt.value = prompt.value.replace(new RegExp(word, 'iu'), suggestion)
    heed()
    prompt.focus()
  })
  hint.replaceChildren('The model has no word “', create('bdi', {}, word), '”. Did you mean ', mend, '?')
}

function say(state: 'idle' | 'ready' | 'busy', text: string): void {
  byId('place', HTMLElement).dataset.state = state
  byId('place-text', HTMLElement).textContent = text
}

/** Whether the model is in memory alone, the device keeping none. */
let unkept = false
const forNow = '; the model is not kept'

async function describeDevice(): Promise<void> {
  const { adapter_class: adapter, online } = await client.device.probe()
  const gpu = adapter !== 'none' && choice('provider').value !== 'wasm'
  const here = gpu ? 'On your graphics processor' : 'On your processor'
  if (job !== undefined) return
  if (places.chosen() !== 'only_in_cloud') say('ready', `${here}${online ? '' : ', offline'}${unkept ? forNow : ''}`)
  else say(online ? 'ready' : 'idle', online ? 'In the cloud' : 'Offline: requests wait')
}

/** Network, credential, device or choice are others than before. */
function situationChanged(): void {
  void describeDevice()
  void places.refresh()
}

let refreshing: ReturnType<typeof setTimeout> | undefined
function soonRefresh(): void {
  clearTimeout(refreshing)
  refreshing = setTimeout(() => void places.refresh(), 200)
}

interface Begun {
  readonly job: Job
  readonly settle: () => Promise<void>
}

/** What a run is made for: to stand beside a kept clip, to go on from one, or to end what was cut. */
interface Purpose {
  readonly beside?: Kept
  readonly after?: Kept
  readonly taken?: KeptRun
}

/** Runs a request to its end; what fails is said beside the button. */
async function run(request: VideoRequest, purpose: Purpose = {}): Promise<void> {
  const { beside, after } = purpose
  // Drawn here, so that a run cut by a reload can go on with the same noise.
  const seeded = { ...request, seed: request.seed ?? (crypto.getRandomValues(new Uint32Array(1))[0] as number) }
  working(true)
  if (beside === undefined) single()
  let begun: Begun | undefined
  try {
    begun = await begin(seeded, purpose)
    if (begun === undefined) return tellWaiting()
    job = begun.job
    const made = await received(job, seeded, heardBy(beside))
    const kept = after === undefined ? made : await joined(after, made)
    if (beside === undefined) present(kept)
    else compare(beside, kept)
    await gallery?.add(kept)
  } catch (error) {
    tell(error)
  } finally {
    await begun?.settle()
    job?.[Symbol.dispose]()
    job = undefined
    dismissRetired()
    working(false)
    void takeUp()
  }
}

const free = () => job === undefined && !make.disabled && gallery !== undefined

/** Goes on with what was cut, one after another, while this page has nothing else to do. */
function takeUp(): Promise<void> {
  takingUp = takingUp.then(async () => {
    if (!free()) return
    left ??= storage && (await abandonedRun(storage))
    if (left === undefined || !free()) return
    const taken = left
    left = undefined
    await goOn(taken)
    // Whatever has become of it: what failed was told, and would only fail again at each visit.
    await taken.end()
  })
  return takingUp
}

async function goOn(taken: KeptRun): Promise<void> {
  const { request, after } = taken
  const clip = after === undefined ? undefined : gallery?.find(after)
  // Without the clip that it extends it is nothing to go on with.
  if (after !== undefined && clip === undefined) return
  prompt.value = request.prompt ?? ''
  heed()
  await run(request, { taken, ...(clip === undefined ? {} : { after: clip }) })
}

/** Starts a request where the router sends it; undefined where it went to the outbox and waits there. */
async function begin(request: VideoRequest, { after, taken }: Purpose): Promise<Begun | undefined> {
  const route = await client.videos.route(request)
  if (route.source === 'on_device') {
    const begun = { request, ...(after === undefined ? {} : { after: after.id }) }
    const kept = taken ?? (storage && (await keepRun(storage, begun)))
    const begins = after === undefined ? {} : { firstFrame: lastFrameOf(after.clip) }
    const settle = async () => kept?.end()
    try {
      return { job: await client.videos.create(request, begins), settle }
    } catch (error) {
      await settle()
      throw error
    }
  }
  if (route.source === null && !mayWait(route, request)) throw nowhere(route, request.inferenceMode ?? places.chosen())
  // A letter is kept by itself. Kept twice, it could be sent twice.
  await taken?.end()
  const sent = await post?.send(request)
  return sent === undefined ? undefined : { job: sent, settle: async () => post?.settle(sent.id) }
}

function tellWaiting(): void {
  byId('hint', HTMLElement).textContent = 'Kept in the outbox; it is sent as soon as it can be.'
}

/** Shows a run while it goes, alone or beside a clip. */
const heardBy =
  (beside?: Kept): Heed =>
  (event, clip) => {
    if (event.type === 'progress') {
      const { value, text } = progressIn(event)
      byId('bar', HTMLProgressElement).value = value
      byId('stage-text', HTMLElement).textContent = text
    }
    if (event.type === 'warning') byId('hint', HTMLElement).textContent = event.message
    if (event.type === 'preview' && event.frames !== undefined && clip !== undefined) {
      const { width, height, count, pixels } = event.frames
      const rough = { frames: count, width, height, fps: clip.fps, pixels }
      if (beside === undefined) stage.refresh(rough)
      else stage.showBeside(rough, 'Beside it: a first look')
    }
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
    say('busy', places.chosen() === 'only_in_cloud' ? 'Working in the cloud' : 'Working')
  } else situationChanged()
}

function tell(error: unknown): void {
  if (error instanceof GenerationError && error.code === 'aborted') return
  problem.textContent = error instanceof Error ? error.message : String(error)
  problem.hidden = false
}

/** No comparison any more. */
function single(): void {
  stage.alone()
  byId('captions', HTMLElement).hidden = true
}

/** Puts a finished clip on the stage, with what can be done to it. */
function present(kept: Kept): void {
  shown = kept
  single()
  stage.show(kept.clip, `Video: ${kept.request.prompt}`)
  byId('after', HTMLElement).hidden = job !== undefined
  if (download.href.startsWith('blob:')) URL.revokeObjectURL(download.href)
  download.href = URL.createObjectURL(kept.file)
  download.download = `${fileName(kept)}.mp4`
  showReceipt(kept)
  offerRivals(kept)
}

/** Two clips of one prompt and seed, in step. */
function compare(first: Kept, second: Kept): void {
  present(first)
  stage.showBeside(second.clip, `Beside it: ${titleOf(second)}`)
  byId('caption-first', HTMLElement).textContent = titleOf(first)
  byId('caption-second', HTMLElement).textContent = titleOf(second)
  const decibels = likeness(first.clip, second.clip)
  byId('likeness', HTMLElement).textContent =
    decibels === undefined ? '' : decibels === Number.POSITIVE_INFINITY ? 'Equal' : `Alike to ${decibels.toFixed(1)} dB`
  byId('captions', HTMLElement).hidden = false
}

function offerRivals(kept: Kept): void {
  const menu = byId('rivals', HTMLElement)
  const item = ({ title, request }: Rival) => {
    const button = create('button', { type: 'button', textContent: `With ${title}` })
    button.addEventListener('click', () => {
      menu.hidePopover()
      if (!make.disabled) void run(request, { beside: kept })
    })
    return button
  }
  const rivals = rivalsOf(kept, offered())
  menu.replaceChildren(...rivals.map(item))
  byId('compare', HTMLButtonElement).hidden = rivals.length === 0
  byId('extend', HTMLButtonElement).hidden = !extendable(kept, offered())
}

/** Fills the form with what a clip was made of. */
function recall({ request }: Kept): void {
  prompt.value = request.prompt ?? ''
  heed()
}

form.addEventListener('submit', (event) => {
  event.preventDefault()
  if (job === undefined && !make.disabled) void run({ ...requestOf(), inferenceMode: places.chosen() })
})
form.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
})
prompt.addEventListener('input', heed)
stop.addEventListener('click', () => job?.cancel())
key.addEventListener('change', () => {
  const before = credential.given()
  credential.set(key.value)
  // The client asks for the credential whenever it sends; only whether there is one is built into it.
  if (before !== credential.given()) renewClient()
  void post?.flush().catch(tell)
})
choice('model').addEventListener('change', offerParameters)
byId('form', HTMLFormElement).addEventListener('change', soonRefresh)
choice('provider').addEventListener('change', renewClient)
byId('remix', HTMLButtonElement).addEventListener('click', () => {
  if (shown === undefined || make.disabled) return
  const { seed: _, ...again } = shown.request
  recall(shown)
  void run(again)
})
byId('extend', HTMLButtonElement).addEventListener('click', () => {
  if (shown !== undefined && !make.disabled) void run(extensionOf(shown, prompt.value), { after: shown })
})
byId('alone', HTMLButtonElement).addEventListener('click', () => {
  if (shown !== undefined) present(shown)
  byId('remix', HTMLButtonElement).focus()
})
for (const [name, { ending, make: encode }] of Object.entries(formats))
  byId(`save-${name}`, HTMLButtonElement).addEventListener('click', async () => {
    byId('formats', HTMLElement).hidePopover()
    if (shown === undefined) return
    const kept = shown
    await encode(kept.clip).then((file) => save(file, `${fileName(kept)}.${ending}`), tell)
  })
for (const kind of ['online', 'offline'])
  addEventListener(kind, () => {
    situationChanged()
    void post?.flush().catch(tell)
  })

async function start(): Promise<void> {
  prompt.value = examples[Math.floor(Math.random() * examples.length)] ?? promptOf({})
  heed()
  // What is kept is shown whether or not the device answers.
  void describeDevice()
  storage = await openStorage()
  // At once, since another tab takes it up where this one does not; runs of others are waited for meanwhile.
  const abandoned = abandonedRun(storage)
  gallery = await createGallery(storage, (kept) => {
    recall(kept)
    present(kept)
    scrollTo({ top: 0, behavior: still() ? 'instant' : 'smooth' })
  })
  post = await createPost({
    storage,
    client: () => (credential.given() ? client : undefined),
    receive: async (sent, request, said) => {
      const kept = await received(sent, request, (event) => event.type === 'progress' && said(progressIn(event).text))
      await gallery?.add(kept)
      if (job === undefined && shown === undefined) present(kept)
    },
  })
  left = await abandoned
  make.disabled = false
  await registerOffline()
  offerModels(await client.models.list())
  // A clip may be there already; what can be done with it depends on the models.
  if (shown !== undefined) offerRivals(shown)
  void places.refresh()
  await onLetGo(storage, () => void takeUp())
  await takeUp()
  await readyModel()
}

/** Fetches the standard model ahead, so that the first press draws at once and the next visit needs no network. */
async function readyModel(): Promise<void> {
  const card = chosen()
  if (card === undefined) return
  const saving = (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true
  if (saving) return
  const own = client
  const { kept } = await own.models.prefetch(card.id, {
    rehearse: false,
    onProgress: (received, total) => {
      if (received < total && job === undefined)
        say('busy', `Fetching the model, ${megabytes(received)} of ${megabytes(total)}`)
    },
  })
  unkept = !kept
  situationChanged()
  // Afterwards, since it may fail or wait where there is no room.
  await keepRuntime()
  // Another client readies its own.
  if (client !== own) return
  await own.models.prefetch(card.id)
  // How long it takes is known now.
  situationChanged()
}

start().catch(tell)
