import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluateValues } from '../graph/evaluate.ts'
import { input, trace, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { linear } from '../nn/linear.ts'
import { nodeBackend } from '../node/backend.ts'
import type { HostTensor } from '../pipeline/backend.ts'
import { initialize } from './initialize.ts'
import { adamW, isHiddenMatrix, muon, orthogonalised } from './optimizer.ts'
import { emaDecayAt, learningRateAt } from './rates.ts'
import { type TrainerOptions, trainer } from './trainer.ts'

const objective = () => {
  const guess = linear('layers.0.map', input('x', [8, 4]), 3)
  return { loss: op.reshape(op.mean(op.square(op.subtract(guess, input('y', [8, 3])))), []) }
}

const options = (more: Partial<TrainerOptions> = {}): TrainerOptions => ({
  backend: nodeBackend({ threads: 1 }),
  objective,
  optimizerOf: () => adamW({ rate: 1, epsilon: 1e-8, weightDecay: 0 }),
  clip: 1,
  state: {},
  initial: initialize(1),
  ...more,
})

const x: HostTensor = { dtype: 'float32', shape: [8, 4], data: gaussian(1, 0, 0, 32) }
const y: HostTensor = {
  dtype: 'float32',
  shape: [8, 3],
  data: Float32Array.from({ length: 24 }, (_, n) => (x.data[Math.floor(n / 3) * 4 + (n % 3)] as number) * 2 - 1),
}

async function run(steps: number, more: Partial<TrainerOptions> = {}, from = 0) {
  await using learner = await trainer(options(more))
  const losses: number[] = []
  for (let step = from; step < from + steps; step++) {
    const { scalars } = await learner.step({ x, y }, { learningRate: 0.05, emaDecay: 0.5, step })
    losses.push(scalars.loss as number)
  }
  return {
    losses,
    state: Object.fromEntries(Object.entries(learner.state()).map(([name, data]) => [name, data.slice()])),
  }
}

describe('trainer', () => {
  it('learns a linear map, with AdamW and with Muon', async () => {
    for (const optimizer of [adamW({ rate: 1, epsilon: 1e-8, weightDecay: 0 }), undefined]) {
      const optimizerOf: TrainerOptions['optimizerOf'] = (parameter) =>
        optimizer ??
        (isHiddenMatrix(parameter)
          ? muon({ momentum: 0.9, weightDecay: 0, iterations: 5 })
          : adamW({ rate: 1, epsilon: 1e-8, weightDecay: 0 }))
      const { losses } = await run(200, { optimizerOf })
      expect(losses.at(-1)).toBeLessThan(0.05 * (losses[0] as number))
    }
  })

  it('updates as AdamW says', async () => {
    const { state } = await run(1)
    const before = initialize(1)({
      name: 'layers.0.map.weight',
      shape: [3, 4],
      initializer: { kind: 'normal', scale: 0.5 },
    })
    // In its first step bias-corrected Adam moves every weight by the rate, whatever the gradient's size.
    state['layers.0.map.weight']?.forEach((value, index) => {
      expect(Math.abs(value - (before[index] as number))).toBeCloseTo(0.05, 3)
    })
  })

  it('goes on from a saved state as if it had never stopped', async () => {
    const whole = await run(6)
    const first = await run(3)
    const second = await run(3, { state: first.state }, 3)
    expect([...first.losses, ...second.losses]).toEqual(whole.losses)
    expect(second.state).toEqual(whole.state)
  })

  it('averages parameters', async () => {
    const { state } = await run(2)
    const [value, average] = [state['layers.0.map.weight'], state['layers.0.map.weight@ema']]
    expect(average).not.toEqual(value)
  })

  it('drops a step whose loss is not finite and keeps its state', async () => {
    await using learner = await trainer(options())
    const before = learner.state()['layers.0.map.weight']?.slice()
    const broken: HostTensor = { ...x, data: new Float32Array(32).fill(Number.NaN) }
    const report = await learner.step({ x: broken, y }, { learningRate: 0.05, emaDecay: 0.5, step: 0 })
    expect(report.applied).toBe(false)
    expect(learner.state()['layers.0.map.weight']).toEqual(before)
  })

  it('leaves frozen parameters alone', async () => {
    const { state, losses } = await run(3, { frozen: ({ name }) => name.endsWith('weight') })
    expect(state['layers.0.map.weight']).toEqual(
      initialize(1)({ name: 'layers.0.map.weight', shape: [3, 4], initializer: { kind: 'normal', scale: 0.5 } }),
    )
    expect(losses[2]).toBeLessThan(losses[0] as number)
  })

  it('refuses a state of another shape', async () => {
    await expect(run(1, { state: { 'layers.0.map.weight': new Float32Array(5) } })).rejects.toThrow(
      'the state has 5 numbers, the network wants 12',
    )
  })
})

describe('muon', () => {
  it('brings singular values to between 0.68 and 1.2, so their squares fill the diagonal', () => {
    for (const shape of [
      [4, 9],
      [9, 4],
    ] as const) {
      const matrix = input('m', shape)
      const near = orthogonalised(matrix, 6)
      const gram = shape[0] > shape[1] ? op.matmul(op.swapLast(near), near) : op.matmul(near, op.swapLast(near))
      const { data } = evaluateValues([gram as Value], { inputs: { m: gaussian(4, 0, 0, 36) } })[0] ?? {
        data: new Float64Array(),
      }
      data.forEach((value, index) => {
        if (index % 5 !== 0) expect(Math.abs(value)).toBeLessThan(0.5)
        else expect(value > 0.68 ** 2 && value < 1.2 ** 2).toBe(true)
      })
    }
  })
})

describe('rates', () => {
  it('rise, stay and fall', () => {
    const rates = { peak: 2, warmup: 10, steps: 100, decay: 0.2 }
    expect([0, 9, 50, 90, 99].map((step) => learningRateAt(rates, step).toFixed(2))).toEqual([
      '0.20',
      '2.00',
      '2.00',
      '1.00',
      '0.10',
    ])
    expect(emaDecayAt(0.999, 0)).toBeCloseTo(0.1)
    expect(emaDecayAt(0.999, 1e6)).toBe(0.999)
  })
})

it('names in a trace are those of the checkpoint', () => {
  expect(trace(objective).parameters.map(({ attributes }) => attributes.name)).toEqual([
    'layers.0.map.weight',
    'layers.0.map.bias',
  ])
})
