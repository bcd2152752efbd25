import type * as Layers from '@tensorflow/tfjs-layers'
import type { DenseLayer } from '@millrace/engine'
import { seededRandom } from '@millrace/base'

export interface NetworkLayer {
  readonly units: number
  readonly activation: DenseLayer['activation']
}

export interface FitOptions {
  /** Names of the model's input and output. */
  readonly input: string
  readonly output: string
  readonly layers: readonly NetworkLayer[]
  readonly loss: 'meanSquaredError' | 'binaryCrossentropy'
  readonly epochs: number
  readonly batchRows: number
  readonly learningRate: number
  /** Weight of the squared weights in the loss; default 0. */
  readonly decay?: number
  readonly seed: number
}

/** A trained network: as a TFJS layers model, and as the numbers of its layers. */
export interface Fitted {
  /** `model.json` and the weights file that it names, `weights.bin`. */
  readonly modelJson: string
  readonly weights: Buffer
  readonly layers: readonly DenseLayer[]
}

/**
 * Trains dense layers by Adam, in plain JavaScript: the same numbers for the same seed, on one version of Node.
 *
 * @param x `[rows, width]`, row-major
 * @param y `[rows]`
 */
export async function fitNetwork(x: Float32Array, y: Float32Array, options: FitOptions): Promise<Fitted> {
  // Only a training script needs TFJS; a workflow's engine brings its own.
  const tf = await import('@tensorflow/tfjs-core')
  const layers = await import('@tensorflow/tfjs-layers')
  await import('@tensorflow/tfjs-backend-cpu')
  await tf.setBackend('cpu')
  tf.enableProdMode()
  const rows = y.length
  const width = x.length / rows
  const model = build(layers, width, options)
  const adam = tf.train.adam(options.learningRate)
  const decay = options.decay ?? 0
  const kernels = model.trainableWeights.filter((weight) => weight.shape.length === 2)
  const random = seededRandom(options.seed)
  const order = Uint32Array.from({ length: rows }, (_, i) => i)
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    shuffle(order, random)
    // Smaller steps towards the end, down to a twentieth.
    const rate = options.learningRate * (1 - 0.95 * (epoch / options.epochs))
    ;(adam as unknown as { learningRate: number }).learningRate = rate
    for (let begin = 0; begin < rows; begin += options.batchRows) {
      const taken = order.subarray(begin, Math.min(rows, begin + options.batchRows))
      const batch = gather(x, y, width, taken)
      adam.minimize(() =>
        tf.tidy(() => {
          const given = tf.tensor2d(batch.x, [taken.length, width])
          const wanted = tf.tensor2d(batch.y, [taken.length, 1])
          const answer = model.apply(given, { training: true }) as ReturnType<typeof tf.tensor2d>
          const error =
            options.loss === 'meanSquaredError'
              ? tf.losses.meanSquaredError(wanted, answer)
              : tf.losses.logLoss(wanted, answer)
          const squares = kernels.map((kernel) => tf.sum(tf.square(kernel.read())))
          return tf.add(error, tf.mul(tf.addN(squares), decay))
        }),
      )
    }
  }
  const fitted = await save(model, options)
  model.dispose()
  adam.dispose()
  return fitted
}

function build(layers: typeof Layers, width: number, options: FitOptions): Layers.LayersModel {
  const input = layers.input({ shape: [width], name: options.input })
  let value = input
  options.layers.forEach(({ units, activation }, i) => {
    const name = i === options.layers.length - 1 ? options.output : `dense_${i}`
    const kernelInitializer = layers.initializers.glorotUniform({ seed: options.seed + i })
    value = layers.layers.dense({ name, units, activation, kernelInitializer }).apply(value) as typeof value
  })
  return layers.model({ inputs: input, outputs: value })
}

async function save(model: Layers.LayersModel, options: FitOptions): Promise<Fitted> {
  let modelJson = ''
  let weights = Buffer.alloc(0)
  await model.save({
    save: (artifacts) => {
      weights = Buffer.from(artifacts.weightData as ArrayBuffer)
      modelJson = JSON.stringify({
        format: 'layers-model',
        generatedBy: artifacts.generatedBy,
        modelTopology: artifacts.modelTopology,
        weightsManifest: [{ paths: ['weights.bin'], weights: artifacts.weightSpecs }],
      })
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } })
    },
  })
  const numbers = model.getWeights().map((tensor) => tensor.dataSync() as Float32Array)
  return {
    modelJson,
    weights,
    layers: options.layers.map(({ activation }, i) => ({
      weights: numbers[2 * i]!,
      bias: numbers[2 * i + 1]!,
      activation,
    })),
  }
}

function shuffle(order: Uint32Array, random: () => number): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const at = order[i]!
    order[i] = order[j]!
    order[j] = at
  }
}

function gather(
  x: Float32Array,
  y: Float32Array,
  width: number,
  rows: Uint32Array,
): { readonly x: Float32Array; readonly y: Float32Array } {
  const out = { x: new Float32Array(rows.length * width), y: new Float32Array(rows.length) }
  rows.forEach((row, i) => {
    out.x.set(x.subarray(row * width, (row + 1) * width), i * width)
    out.y[i] = y[row]!
  })
  return out
}
