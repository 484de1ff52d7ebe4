/**
 * A React component: a prompt becomes a video, on the visitor's device where it can, and stops when it leaves the page.
 */

import { useEffect, useState } from 'react'
import { createClient, GenerationError, type JobState } from 'zoetrope/client'

/** One for the page: it holds the engine and the models. */
const zoetrope = createClient()

export interface PromptVideoProps {
  readonly prompt: string
  readonly seed?: number
}

export function PromptVideo({ prompt, seed }: PromptVideoProps) {
  const [done, setDone] = useState(0)
  const [state, setState] = useState<JobState>()
  const [problem, setProblem] = useState('')

  useEffect(() => {
    const stop = new AbortController()
    const run = async () => {
      const request = seed === undefined ? { prompt } : { prompt, seed }
      using job = await zoetrope.videos.create(request, { signal: stop.signal })
      for await (const event of job.events()) if (event.type === 'progress') setDone(event.value)
      setState(await job.result())
      // Disposing the job frees the video's address, so it waits until the component goes.
      await new Promise((resolve) => stop.signal.addEventListener('abort', resolve))
    }
    run().catch((error: unknown) => {
      if (error instanceof GenerationError && error.code === 'aborted') return
      setProblem(error instanceof Error ? error.message : String(error))
    })
    return () => stop.abort()
  }, [prompt, seed])

  const url = state?.outputs[0]?.url
  if (problem !== '') return <p role="alert">{problem}</p>
  if (url === undefined) return <progress value={done} aria-label={`Making: ${prompt}`} />
  return <video src={url} aria-label={prompt} autoPlay loop muted playsInline />
}
