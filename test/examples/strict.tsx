/**
 * An app around the React example, as one in development is: everything is begun twice, and once undone.
 */

import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { PromptVideo } from '../../examples/react.tsx'

function App() {
  const [prompt, setPrompt] = useState('a red boat')
  const [there, setThere] = useState(true)
  return (
    <main>
      <button type="button" id="another" onClick={() => setPrompt('a pink cup')}>
        another
      </button>
      <button type="button" id="away" onClick={() => setThere(false)}>
        away
      </button>
      {there && <PromptVideo prompt={prompt} seed={3} />}
    </main>
  )
}

createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
