'use strict'
// Writes layers models of many kinds of layer, weights as they are initialised: node write-layers.js FOLDER
const { mkdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
require('@tensorflow/tfjs-backend-cpu')
const tf = require('@tensorflow/tfjs-layers')

const layers = tf.layers
// The default one needs more of TFJS than this loads.
const recurrentInitializer = 'glorotNormal'
const sequence = (...list) => list.reduce((model, layer) => (model.add(layer), model), tf.sequential())
const two = () => {
  const [a, b] = [tf.input({ shape: [4] }), tf.input({ shape: [4] })]
  const both = layers
    .concatenate()
    .apply([layers.dense({ units: 3 }).apply(a), layers.leakyReLU({ alpha: 0.3 }).apply(b)])
  return tf.model({ inputs: [a, b], outputs: [layers.dense({ units: 2 }).apply(both), layers.prelu().apply(both)] })
}
const models = {
  pictures: sequence(
    layers.conv2d({ inputShape: [12, 12, 3], filters: 8, kernelSize: 3, activation: 'relu' }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.batchNormalization(),
    layers.depthwiseConv2d({ kernelSize: 2, activation: 'relu6' }),
    layers.flatten(),
    layers.dense({ units: 5, activation: 'softmax' }),
  ),
  series: sequence(
    layers.bidirectional({
      inputShape: [6, 4],
      layer: layers.lstm({ units: 5, returnSequences: true, recurrentInitializer }),
      mergeMode: 'concat',
    }),
    layers.gru({ units: 3, recurrentInitializer }),
    layers.repeatVector({ n: 2 }),
    layers.timeDistributed({ layer: layers.dense({ units: 2 }) }),
  ),
  words: sequence(
    layers.embedding({ inputDim: 20, outputDim: 4, inputLength: 7 }),
    layers.globalAveragePooling1d(),
    layers.dropout({ rate: 0.5 }),
    layers.dense({ units: 3, activation: 'elu' }),
  ),
  sizes: sequence(
    layers.dense({ inputShape: [8], units: 12, activation: 'tanh' }),
    layers.reshape({ targetShape: [3, 4] }),
    layers.permute({ dims: [2, 1] }),
    layers.conv1d({ filters: 3, kernelSize: 2 }),
    layers.layerNormalization(),
  ),
  two: two(),
  free: sequence(layers.lstm({ inputShape: [null, 4], units: 5, recurrentInitializer }), layers.dense({ units: 2 })),
}

async function main() {
  for (const [name, model] of Object.entries(models)) {
    const folder = join(process.argv[2], name)
    mkdirSync(folder, { recursive: true })
    await model.save({
      save: ({ modelTopology, weightSpecs, weightData }) => {
        const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }]
        writeFileSync(join(folder, 'weights.bin'), Buffer.from(weightData))
        writeFileSync(
          join(folder, 'model.json'),
          JSON.stringify({ format: 'layers-model', modelTopology, weightsManifest }),
        )
        return Promise.resolve({ modelArtifactsInfo: {} })
      },
    })
  }
}
void main()
