import { describe, expect, it } from 'vitest'
import { ownCache } from '../../test/own-cache.ts'
import { readArguments } from './command.ts'
import { distillCommand } from './commands/distill.ts'
import { loadCard, releasedState } from './models.ts'
import { openRun, restoreRuns } from './runs.ts'
import { teacherOf } from './teachers.ts'

ownCache()

const asked = (...words: string[]) => teacherOf(readArguments(words, distillCommand.options))

describe('whom a distillation learns from', () => {
  it('may be released, and so may the student that it is to teach: the facts say both and the clips of the teacher', async () => {
    const [teacher, student] = [await loadCard('zt-nano-teacher'), await loadCard('zt-nano')]
    const found = await asked('--teacher', 'zt-nano-teacher', '--student', 'zt-nano', '--direct', '1')
    const names = [`zt-nano-teacher@${teacher.revision}`, `zt-nano@${student.revision}`]
    expect(found).toMatchObject({ guided: false, steps: { from: 256, to: 8 }, origin: names.join(' ') })
    expect(found.facts).toMatchObject({
      ...{ size: 'nano', clips: teacher.training.clips, teacherSteps: teacher.training.steps },
      ...{ teacher: names[0], student: names[1] },
    })
    const weight = 'dit.unpatch.weight'
    expect(found.parameters[weight]).toEqual((await releasedState(teacher))[weight])
    expect(found.student?.[weight]).toEqual((await releasedState(student))[weight])
    expect(found.student?.[weight]).not.toEqual(found.parameters[weight])
    // Its latents are encoded as it learned them.
    expect(Object.keys((await openRun('autoencoder')).state)).not.toEqual([])
  })

  it('may be a run that went on from a released one: the facts say from which', async () => {
    await restoreRuns('zt-nano-teacher', { encoder: 'autoencoder', denoiser: 'further' })
    const run = await openRun('further')
    await run.save(7, run.state, { size: 'nano', clips: 20, prediction: 'sample', passes: 32 })
    const { facts, origin, student } = await asked('--teacher', 'further', '--clips', '40')
    const { revision } = await loadCard('zt-nano-teacher')
    expect(facts).toMatchObject({ teacher: `zt-nano-teacher@${revision}`, teacherSteps: 7, clips: 40 })
    expect([origin, student]).toEqual(['further 7', undefined])
  })

  it('has a student of its own form and of as many steps as are asked for', async () => {
    await expect(asked('--teacher', 'zt-nano-teacher', '--student', 'zt-nano', '--to', '4')).rejects.toThrow(
      '--to: got 4, allowed is 8, the steps of zt-nano',
    )
    await restoreRuns('zt-nano-teacher', { encoder: 'autoencoder', denoiser: 'other' })
    const run = await openRun('other')
    await run.save(1, run.state, { size: 'nano', clips: 20, prediction: 'velocity', passes: 32 })
    await expect(asked('--teacher', 'other', '--student', 'zt-nano', '--direct', '1')).rejects.toThrow(
      '--student: got zt-nano of prediction sample, allowed is velocity, as the teacher has',
    )
  })

  it('is asked for some lessons where the student is there already', async () => {
    await expect(asked('--teacher', 'zt-nano-teacher', '--student', 'zt-nano')).rejects.toThrow(
      '--direct and --match: got 0, allowed is a whole number from 1 for one of them where',
    )
    const { revision } = await loadCard('zt-nano')
    const found = await asked('--teacher', 'zt-nano-teacher', '--student', 'zt-nano', '--match', '1')
    expect(found.facts.student).toBe(`zt-nano@${revision}`)
  })

  it('is no student', async () => {
    await expect(asked('--teacher', 'zt-nano')).rejects.toThrow('--teacher: got zt-nano, allowed is a run of')
  })
})
