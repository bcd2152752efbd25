import { seededRandom } from '@millrace/base'
import type { DenseLayer } from '@millrace/engine'

/** Layers of 64-128-64-1, ReLU between, sigmoid at the end, weights by He's initialisation (normal, variance 2 / inputs). */
export function mlpLayers(seed: number): DenseLayer[] {
  const random = seededRandom(seed)
  return [heLayer(64, 128, 'relu', random), heLayer(128, 64, 'relu', random), heLayer(64, 1, 'sigmoid', random)]
}

export function heLayer(
  inputs: number,
  outputs: number,
  activation: DenseLayer['activation'],
  random: () => number,
): DenseLayer {
  const deviation = Math.sqrt(2 / inputs)
  const weights = Float32Array.from({ length: inputs * outputs }, () => deviation * normal(random))
  return { weights, bias: new Float32Array(outputs), activation }
}

/** Box and Muller 1958. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
