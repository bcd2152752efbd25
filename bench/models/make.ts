/*
 * Makes the model of workflow mlp-64, the network that the benches score: 64-128-64-1, ReLU between, sigmoid at the end, weights
 * by He's initialisation (normal, variance 2 / inputs) from a fixed seed. The file is committed; run this to make
 * it again, it comes out the same:
 *
 *   npx tsc -b libs/engine && npx jiti bench/models/make.ts
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '@millrace/base'
import { mlpGraph, writeOnnx, type DenseLayer } from '@millrace/engine'

const random = seededRandom(64)
const layers = [heLayer(64, 128, 'relu'), heLayer(128, 64, 'relu'), heLayer(64, 1, 'sigmoid')]
const bytes = writeOnnx(mlpGraph({ input: 'features', output: 'score', layers }))
const path = join(__dirname, '../repository/workflows/mlp-64/1/model.onnx')
writeFileSync(path, bytes)
console.log(`${path}: ${bytes.length} bytes`)

function heLayer(inputs: number, outputs: number, activation: DenseLayer['activation']): DenseLayer {
  const deviation = Math.sqrt(2 / inputs)
  const weights = Float32Array.from({ length: inputs * outputs }, () => deviation * normal())
  return { weights, bias: new Float32Array(outputs), activation }
}

/** Box and Muller 1958. */
function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
