import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mlpGraph, writeOnnx, type DenseLayer } from '@millrace/engine'
import { fitNetwork, isHeldOut, readFlights, type NetworkLayer } from '@millrace/demo'

/*
 * Fits all versions to the flights that are not held out: version 1 is a logistic regression, version 2 a small network,
 * version 3 a wider one. Writes `model.onnx` of each. `npm run train-flight-delay -w @millrace/demo`
 */

const seed = 1
const versions: readonly (readonly NetworkLayer[])[] = [
  [{ units: 1, activation: 'sigmoid' }],
  [
    { units: 16, activation: 'relu' },
    { units: 8, activation: 'relu' },
    { units: 1, activation: 'sigmoid' },
  ],
  [
    { units: 32, activation: 'relu' },
    { units: 16, activation: 'relu' },
    { units: 1, activation: 'sigmoid' },
  ],
]

async function train(): Promise<void> {
  const { hour, distance, late } = readFlights()
  const rows = [...late.keys()].filter((i) => !isHeldOut(`flight-${i}`))
  const scales = [scaleOf(rows.map((i) => hour[i]!)), scaleOf(rows.map((i) => distance[i]!))]
  const x = Float32Array.from(rows.flatMap((i) => [scales[0]!.apply(hour[i]!), scales[1]!.apply(distance[i]!)]))
  const y = Float32Array.from(rows, (i) => late[i]!)
  for (const [i, layers] of versions.entries()) {
    const network = await fitNetwork(x, y, {
      input: 'scaled',
      output: 'late',
      layers,
      loss: 'binaryCrossentropy',
      epochs: 4,
      batchRows: 128,
      learningRate: 0.01,
      seed,
    })
    const folder = join(__dirname, String(i + 1))
    mkdirSync(folder, { recursive: true })
    writeFileSync(
      join(folder, 'model.onnx'),
      onnxOf([unscaled(network.layers[0]!, scales), ...network.layers.slice(1)]),
    )
    console.log(`flight-delay@${i + 1}: fitted to ${rows.length} flights, seed ${seed}`)
  }
}

interface Scale {
  readonly mean: number
  readonly deviation: number
  apply(value: number): number
}

function scaleOf(values: readonly number[]): Scale {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
  return { mean, deviation, apply: (value) => (value - mean) / deviation }
}

/** The first layer for inputs as they come: `((x - mean) / deviation) W + b` is `x W' + b'`. */
function unscaled(layer: DenseLayer, scales: readonly Scale[]): DenseLayer {
  const units = layer.bias.length
  const weights = layer.weights.map((weight, i) => weight / scales[Math.floor(i / units)]!.deviation)
  const bias = layer.bias.map((shift, unit) =>
    scales.reduce((sum, { mean }, input) => sum - mean * weights[input * units + unit]!, shift),
  )
  return { ...layer, weights, bias }
}

/** A network of `hour` and `distance`, one number a row each. */
function onnxOf(layers: readonly DenseLayer[]): Uint8Array {
  const graph = mlpGraph({ input: 'features', output: 'late', layers })
  const inputs = ['hour', 'distance']
  return writeOnnx({
    ...graph,
    name: 'flight-delay',
    inputs: inputs.map((name) => ({ name, dtype: 'f32', shape: ['N', 1] })),
    nodes: [{ op: 'Concat', inputs, outputs: ['features'], attributes: { axis: { int: 1 } } }, ...graph.nodes],
  })
}

void train()
