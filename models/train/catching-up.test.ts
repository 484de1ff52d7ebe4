import { describe, expect, it } from 'vitest'
import { caughtUp, remembering } from './catching-up.ts'

const teacher = { 'a.weight': Float32Array.of(1, 2), 'b.bias': Float32Array.of(3) }
const student = {
  'a.weight': Float32Array.of(10, 20),
  'a.weight@ema': Float32Array.of(9, 19),
  'a.weight@0': Float32Array.of(0.5, 0.5),
  'b.bias': Float32Array.of(30),
  'guidance.weight': Float32Array.of(7),
}

describe('a student whose teacher has gone on', () => {
  it('is moved as the teacher has moved, its averages too and its optimizer’s memory not', () => {
    const later = { 'a.weight': Float32Array.of(1.5, 1), 'b.bias': Float32Array.of(3) }
    expect(caughtUp(remembering(student, teacher), later)).toMatchObject({
      'a.weight': Float32Array.of(10.5, 19),
      'a.weight@ema': Float32Array.of(9.5, 18),
      'a.weight@0': student['a.weight@0'],
      'b.bias': student['b.bias'],
      'guidance.weight': student['guidance.weight'],
    })
  })

  it('is refused where that is another network', () => {
    expect(() => caughtUp(remembering(student, teacher), { 'b.bias': Float32Array.of(3, 4) })).toThrow(
      'teacher: got 2 numbers in b.bias, allowed are 1',
    )
  })

  it('stays bit for bit where the teacher is the same, or is not remembered', () => {
    const taught = remembering(student, teacher)
    expect(caughtUp(taught, teacher)).toEqual(taught)
    expect(caughtUp(student, { 'a.weight': Float32Array.of(8, 8) })).toEqual(student)
  })
})
