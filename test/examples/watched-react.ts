/**
 * React for the example's test: as it is, but a state that is set after its component has gone is counted.
 *
 * React itself says nothing of that any more. A component that strict mode takes away and puts back is there.
 */

import { type Dispatch, type SetStateAction, useEffect, useRef, useState as useStateOf } from 'react'

export { useEffect }

export function useState<T>(initial: T): [T, Dispatch<SetStateAction<T>>] {
  const [state, set] = useStateOf(initial)
  const there = useRef(false)
  useEffect(() => {
    there.current = true
    return () => {
      there.current = false
    }
  }, [])
  const watched: Dispatch<SetStateAction<T>> = (next) => {
    if (!there.current) (globalThis as unknown as { counts: { late: number } }).counts.late += 1
    set(next)
  }
  return [state, watched]
}
