import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DenseLayer } from '@millrace/engine'
import { mlpRequest, requestsOfTraffic } from './mlp'
import { mlpLayers } from './network'
import { writeTraffic, type Workload } from './workload'

/** The same network as a TFJS layers model, on TFJS's own WebAssembly: what needs no native library. */
export const mlpTfjs: Workload = {
  name: 'mlp-tfjs',
  about: '64 floats to one score, TFJS on wasm',
  prepare: (folder) => {
    const model = join(folder, 'repository/workflows/mlp-tfjs/1')
    mkdirSync(model, { recursive: true })
    writeLayersModel(model, mlpLayers(64))
    return {
      env: { MILLRACE_REPOSITORY: join(folder, 'repository'), MILLRACE_POOL_CPU_ENGINES: 'tfjs' },
      traffic: writeTraffic(
        folder,
        Array.from({ length: requestsOfTraffic }, (_, i) => mlpRequest('mlp-tfjs', i)),
      ),
    }
  },
}

/** Dense layers from `features` to `score`. */
function writeLayersModel(folder: string, layers: readonly DenseLayer[]): void {
  const width = layers[0]!.weights.length / layers[0]!.bias.length
  const names = ['features', ...layers.map((_, i) => (i === layers.length - 1 ? 'score' : `dense_${i}`))]
  const first = {
    class_name: 'InputLayer',
    name: 'features',
    config: { batch_input_shape: [null, width], dtype: 'float32', sparse: false, name: 'features' },
    inbound_nodes: [],
  }
  const dense = layers.map(({ activation, bias }, i) => ({
    class_name: 'Dense',
    name: names[i + 1],
    config: { name: names[i + 1], units: bias.length, activation, use_bias: true },
    inbound_nodes: [[[names[i], 0, 0, {}]]],
  }))
  const config = {
    name: 'mlp',
    layers: [first, ...dense],
    input_layers: [['features', 0, 0]],
    output_layers: [['score', 0, 0]],
  }
  const weights = layers.flatMap(({ weights, bias }, i) => [
    { name: `${names[i + 1]}/kernel`, shape: [weights.length / bias.length, bias.length], dtype: 'float32' },
    { name: `${names[i + 1]}/bias`, shape: [bias.length], dtype: 'float32' },
  ])
  const bytes = layers.flatMap(({ weights, bias }) => [Buffer.from(weights.buffer), Buffer.from(bias.buffer)])
  writeFileSync(join(folder, 'weights.bin'), Buffer.concat(bytes))
  writeFileSync(
    join(folder, 'model.json'),
    JSON.stringify({
      format: 'layers-model',
      modelTopology: {
        keras_version: '2.1.6',
        backend: 'tensor_flow.js',
        model_config: { class_name: 'Model', config },
      },
      weightsManifest: [{ paths: ['weights.bin'], weights }],
    }),
  )
}
