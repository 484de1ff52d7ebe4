/**
 * A student that keeps up with a teacher who goes on learning.
 *
 * What a teacher has learned since it last taught is a difference of its parameters. Added to those of the student, who
 * began as its copy, it leaves little to teach anew: networks with one beginning bear each other's differences (task
 * arithmetic, Ilharco et al. 2022, 2212.04089). So a student's state remembers its teacher, under `name@teacher`. Knows
 * neither networks nor files.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { TrainingState } from './trainer.ts'

const kept = (name: string): string => `${name}@teacher`

/** A student's state with the teacher it learns from. */
export function remembering(student: TrainingState, teacher: TrainingState): TrainingState {
  return { ...student, ...Object.fromEntries(Object.entries(teacher).map(([name, data]) => [kept(name), data])) }
}

/**
 * A student's state, its parameters and their averages moved as the teacher it remembers has moved since.
 * @throws GenerationError invalid_parameter where the teacher is a network of another size.
 */
export function caughtUp(student: TrainingState, teacher: TrainingState): TrainingState {
  const moved: Record<string, Float32Array> = { ...student }
  for (const [name, now] of Object.entries(teacher)) {
    const before = student[kept(name)]
    if (before === undefined) continue
    if (before.length !== now.length) throw otherSize(name, before.length, now.length)
    for (const own of [name, `${name}@ema`]) {
      const data = student[own]
      if (data !== undefined) moved[own] = data.map((value, n) => value + ((now[n] as number) - (before[n] as number)))
    }
  }
  return moved
}

const otherSize = (name: string, before: number, now: number): GenerationError =>
  new GenerationError(
    'invalid_parameter',
    `teacher: got ${now} numbers in ${name}, allowed are ${before}, as the run’s own teacher has; give another --run for this one`,
  )
