import { fitNetwork } from './fit-network'
import { flightError, titleError } from './held-out-error'
import { seededRandom } from '@millrace/base'

describe('committed weights, on what they have not seen', () => {
  test('title-ranking is nearer to the ratings than their mean is', async () => {
    const { examples, ofModel, ofMean } = await titleError()
    expect(examples).toBeGreaterThan(500)
    // The mean is as wrong as the ratings vary: a good 1.2 points.
    expect(ofMean).toBeGreaterThan(1)
    expect(ofModel).toBeLessThan(0.75 * ofMean)
  })

  test('flight-delay knows more than how many flights are late, each version more than the one before', async () => {
    const [one, two, three] = [await flightError(1), await flightError(2), await flightError(3)]
    expect(one.examples).toBeGreaterThan(30_000)
    expect(one.ofModel).toBeLessThan(one.ofMean)
    expect(two.ofModel).toBeLessThan(one.ofModel)
    expect(three.ofModel).toBeLessThan(two.ofModel)
  })
})

describe('fitNetwork', () => {
  const random = seededRandom(3)
  const x = Float32Array.from({ length: 400 }, () => 2 * random() - 1)
  const y = Float32Array.from({ length: 200 }, (_, i) => 0.5 + 2 * x[2 * i]! - x[2 * i + 1]!)
  const options = {
    input: 'x',
    output: 'y',
    layers: [{ units: 1, activation: 'linear' }],
    loss: 'meanSquaredError',
    epochs: 60,
    batchRows: 20,
    learningRate: 0.1,
    seed: 5,
  } as const

  test('finds the line that made the data', async () => {
    const { layers, weights, modelJson } = await fitNetwork(x, y, options)
    expect(layers[0]!.weights[0]).toBeCloseTo(2, 2)
    expect(layers[0]!.weights[1]).toBeCloseTo(-1, 2)
    expect(layers[0]!.bias[0]).toBeCloseTo(0.5, 2)
    expect(weights).toHaveLength(12)
    expect(modelJson).toContain('"weights.bin"')
  })

  test('gives the same numbers for the same seed, others for another', async () => {
    const short = { ...options, epochs: 1 }
    const first = await fitNetwork(x, y, short)
    expect((await fitNetwork(x, y, short)).weights.equals(first.weights)).toBe(true)
    expect((await fitNetwork(x, y, { ...short, seed: 6 })).weights.equals(first.weights)).toBe(false)
  })
})
