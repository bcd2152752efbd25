import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { writeOnnx } from '@millrace/engine'
import { seededRandom } from '@millrace/base'

/*
 * Scores of items for users: a vector for each, and a small network over both. A million users are 64 MB, so the file
 * is made on demand, the same each time.
 */

export const users = 1_000_000
export const items = 50_000
const width = 16

const path = join(__dirname, 'repository/workflows/recommender/1/model.onnx')

export function makeRecommender(): void {
  if (existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true })
  const random = seededRandom(20261124)
  const weights = (...shape: number[]) => {
    const length = shape.reduce((product, n) => product * n, 1)
    const scale = 2 / Math.sqrt(shape.length > 1 ? shape[0]! : 1)
    return { dtype: 'f32', shape, data: Float32Array.from({ length }, () => scale * (random() - 0.5)) } as const
  }
  const table = (rows: number) => {
    const data = new Float32Array(rows * width)
    for (let i = 0; i < data.length; i++) data[i] = 2 * random() - 1
    return { dtype: 'f32', shape: [rows, width], data } as const
  }
  const bytes = writeOnnx({
    inputs: [
      { name: 'user', dtype: 'i32', shape: ['N'] },
      { name: 'item', dtype: 'i32', shape: ['N'] },
    ],
    outputs: [{ name: 'score', dtype: 'f32', shape: ['N', 1] }],
    weights: {
      users: table(users),
      items: table(items),
      w0: weights(3 * width, 32),
      b0: weights(32),
      w1: weights(32, 1),
      b1: weights(1),
    },
    nodes: [
      { op: 'Gather', inputs: ['users', 'user'], outputs: ['u'] },
      { op: 'Gather', inputs: ['items', 'item'], outputs: ['i'] },
      { op: 'Mul', inputs: ['u', 'i'], outputs: ['ui'] },
      { op: 'Concat', inputs: ['u', 'i', 'ui'], outputs: ['x'], attributes: { axis: { int: 1 } } },
      { op: 'Gemm', inputs: ['x', 'w0', 'b0'], outputs: ['z0'] },
      { op: 'Relu', inputs: ['z0'], outputs: ['a0'] },
      { op: 'Gemm', inputs: ['a0', 'w1', 'b1'], outputs: ['z1'] },
      { op: 'Sigmoid', inputs: ['z1'], outputs: ['score'] },
    ],
  })
  // Renamed when it is whole, for another process that makes it at the same time.
  const partial = `${path}.${process.pid}`
  writeFileSync(partial, bytes)
  renameSync(partial, path)
}
