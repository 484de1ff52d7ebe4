/**
 * `<zoetrope-video prompt="…">`: a video where a page says so, for those who want no code.
 *
 * Attributes: prompt, seed, size, model. Runs when it comes into view; shows its progress in words,
 * then the clip, looping without sound. The element has no style of its own beyond its display, so the page decides.
 */

import { type Client, createClient, GenerationError, type Job, type VideoRequest } from './index.ts'

/** One client for all elements of a page. */
let shared: Client | undefined

export class ZoetropeVideo extends HTMLElement {
  static readonly observedAttributes = ['prompt', 'seed', 'size', 'model']
  #job: Job | undefined
  #seen: IntersectionObserver | undefined

  connectedCallback(): void {
    this.style.display ||= 'block'
    this.#seen = new IntersectionObserver(([entry]) => entry?.isIntersecting === true && this.#begin())
    this.#seen.observe(this)
  }

  disconnectedCallback(): void {
    this.#seen?.disconnect()
    this.#end()
  }

  attributeChangedCallback(): void {
    if (this.#job !== undefined) {
      this.#end()
      this.#begin()
    }
  }

  #end(): void {
    this.#job?.[Symbol.dispose]()
    this.#job = undefined
  }

  #begin(): void {
    this.#seen?.disconnect()
    void this.#run().catch((error: unknown) => {
      if (error instanceof GenerationError && error.code === 'aborted') return
      this.textContent = error instanceof Error ? error.message : String(error)
      this.dispatchEvent(new ErrorEvent('error', { error }))
    })
  }

  async #run(): Promise<void> {
    shared ??= createClient()
    const status = document.createElement('p')
    status.setAttribute('role', 'status')
    this.replaceChildren(status)
    const job = await shared.videos.create(this.#request())
    this.#job = job
    for await (const event of job.events()) {
      if (event.type === 'progress')
        status.textContent = `${event.stage.replace('_', ' ')}, ${Math.round(100 * event.value)} %`
    }
    const [output] = (await job.result()).outputs
    // Another run may have begun meanwhile.
    if (this.#job !== job || output === undefined) return
    const video = Object.assign(document.createElement('video'), {
      src: output.url,
      loop: true,
      muted: true,
      autoplay: true,
    })
    video.playsInline = true
    video.setAttribute('aria-label', this.getAttribute('prompt') ?? '')
    this.replaceChildren(video)
    this.dispatchEvent(new CustomEvent('complete', { detail: output }))
  }

  #request(): VideoRequest {
    const text = (name: string) => this.getAttribute(name) ?? undefined
    const seed = text('seed')
    const fields = {
      prompt: text('prompt'),
      size: text('size'),
      model: text('model'),
      seed: seed === undefined ? undefined : Number(seed),
    }
    return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  }
}

if (customElements.get('zoetrope-video') === undefined) customElements.define('zoetrope-video', ZoetropeVideo)
