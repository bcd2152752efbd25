import type { DenseLayer } from '@millrace/engine'
import { seededRandom } from '@millrace/base'

export interface Mlp {
  readonly layers: readonly DenseLayer[]
  readonly width: number
}

/** 6-16-8-2 with ReLU between and a sigmoid at the end; weights in [-1, 1) by `seed`. */
export function makeMlp(seed: number): Mlp {
  const random = seededRandom(seed)
  const numbers = (n: number): Float32Array => Float32Array.from({ length: n }, () => 2 * random() - 1)
  const layer = (inputs: number, outputs: number, activation: DenseLayer['activation']): DenseLayer => ({
    weights: numbers(inputs * outputs),
    bias: numbers(outputs),
    activation,
  })
  return { width: 6, layers: [layer(6, 16, 'relu'), layer(16, 8, 'relu'), layer(8, 2, 'sigmoid')] }
}

export function rowsFor(mlp: Mlp, rows: number, seed: number): Float32Array {
  const random = seededRandom(seed)
  return Float32Array.from({ length: rows * mlp.width }, () => 4 * random() - 2)
}

/** What every engine must answer: the same network by loops in double precision. */
export function computeMlp(mlp: Mlp, data: Float32Array): Float64Array {
  let values = Float64Array.from(data)
  const rows = data.length / mlp.width
  for (const { weights, bias, activation } of mlp.layers) {
    const [outputs, inputs] = [bias.length, weights.length / bias.length]
    const next = new Float64Array(rows * outputs)
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outputs; o++) {
        let sum = bias[o]!
        for (let i = 0; i < inputs; i++) sum += values[r * inputs + i]! * weights[i * outputs + o]!
        next[r * outputs + o] =
          activation === 'relu' ? Math.max(0, sum) : activation === 'sigmoid' ? 1 / (1 + Math.exp(-sum)) : sum
      }
    values = next
  }
  return values
}
