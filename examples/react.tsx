/**
 * A React component: a prompt becomes a video, on the visitor's device where it can, and stops when it leaves the page.
 */

import { useEffect, useState } from 'react'
import { createClient, GenerationError } from 'zoetrope/client'

/** One for the page: it holds the engine and the models. */
const zoetrope = createClient()

export interface PromptVideoProps {
  readonly prompt: string
  readonly seed?: number
}

type State =
  | { readonly kind: 'working'; readonly done: number }
  | { readonly kind: 'ready'; readonly url: string }
  | { readonly kind: 'failed'; readonly problem: string }

const fresh: State = { kind: 'working', done: 0 }

export function PromptVideo({ prompt, seed }: PromptVideoProps) {
  const [state, setState] = useState<State>(fresh)

  useEffect(() => {
    const stop = new AbortController()
    const show = (next: State) => {
      // What was asked for before must not be shown in the place of what is asked for now.
      if (!stop.signal.aborted) setState(next)
    }
    show(fresh)
    const run = async () => {
      const request = seed === undefined ? { prompt } : { prompt, seed }
      using job = await zoetrope.videos.create(request, { signal: stop.signal })
      for await (const event of job.events())
        if (event.type === 'progress') show({ kind: 'working', done: event.value })
      const [output] = (await job.result()).outputs
      if (output !== undefined) show({ kind: 'ready', url: output.url })
      // Disposing the job frees the video's address, so it waits until the component goes or asks for another.
      if (!stop.signal.aborted) await new Promise((resolve) => stop.signal.addEventListener('abort', resolve))
    }
    run().catch((error: unknown) => {
      if (error instanceof GenerationError && error.code === 'aborted') return
      show({ kind: 'failed', problem: error instanceof Error ? error.message : String(error) })
    })
    return () => stop.abort()
  }, [prompt, seed])

  if (state.kind === 'failed') return <p role="alert">{state.problem}</p>
  if (state.kind === 'working') return <progress value={state.done} aria-label={`Making: ${prompt}`} />
  return <video src={state.url} aria-label={prompt} autoPlay loop muted playsInline />
}
