import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '@millrace/base'
import { mlpGraph, writeOnnx, type DenseLayer } from '@millrace/engine'

/** Wide enough that a row costs its thread 100 us and more: the thread is what is short of, not the sockets. */
const width = 2048

/**
 * A repository in `parent` with a network that has the inputs of `mlp-64`, and its name, and more to compute:
 * 64 floats, two layers of 2,048, one score.
 */
export function makeRepository(parent: string): string {
  const random = seededRandom(1024)
  const layer = (inputs: number, outputs: number, activation: DenseLayer['activation']): DenseLayer => ({
    weights: Float32Array.from({ length: inputs * outputs }, () => (random() - 0.5) / Math.sqrt(inputs)),
    bias: new Float32Array(outputs),
    activation,
  })
  const layers = [layer(64, width, 'relu'), layer(width, width, 'relu'), layer(width, 1, 'sigmoid')]
  const repository = join(parent, 'repository')
  const folder = join(repository, 'workflows/mlp-64/1')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'model.onnx'), writeOnnx(mlpGraph({ input: 'features', output: 'score', layers })))
  return repository
}
