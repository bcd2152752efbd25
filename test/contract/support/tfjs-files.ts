import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Mlp } from './mlp'

interface Weight {
  readonly name: string
  readonly shape: readonly number[]
  readonly data: Float32Array | Int32Array
  /** A node that the constant waits for: the loop that it is in. */
  readonly after?: string
}

/** Writes `model.json` and two weight shards, split in the middle of a weight as converters do. */
function writeModel(folder: string, model: object, weights: readonly Weight[]): string {
  mkdirSync(folder, { recursive: true })
  const bytes = Buffer.concat(weights.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)))
  const half = Math.floor(bytes.length / 2) + 1
  writeFileSync(join(folder, 'group1-shard1of2.bin'), bytes.subarray(0, half))
  writeFileSync(join(folder, 'group1-shard2of2.bin'), bytes.subarray(half))
  const entries = weights.map(({ name, shape, data }) => ({
    name,
    shape,
    dtype: data instanceof Float32Array ? 'float32' : 'int32',
  }))
  const weightsManifest = [{ paths: ['group1-shard1of2.bin', 'group1-shard2of2.bin'], weights: entries }]
  const path = join(folder, 'model.json')
  writeFileSync(path, JSON.stringify({ ...model, weightsManifest }))
  return path
}

export interface GraphNode {
  readonly name: string
  readonly op: string
  readonly input?: readonly string[]
  readonly attr?: object
}

/** A graph model of any nodes; weights become `Const` nodes. */
export function writeGraph(
  folder: string,
  nodes: readonly GraphNode[],
  weights: readonly Weight[] = [],
  signature?: object,
): string {
  const constants = weights.map(({ name, data, shape, after }) => ({
    name,
    op: 'Const',
    ...(after !== undefined && { input: [`^${after}`] }),
    attr: {
      dtype: { type: data instanceof Float32Array ? 'DT_FLOAT' : 'DT_INT32' },
      value: { tensor: { dtype: data instanceof Float32Array ? 'DT_FLOAT' : 'DT_INT32', tensorShape: dims(shape) } },
    },
  }))
  const modelTopology = { node: [...constants, ...nodes], versions: { producer: 1 }, library: {} }
  return writeModel(folder, { format: 'graph-model', modelTopology, ...(signature && { signature }) }, weights)
}

export function dims(shape: readonly number[]): { dim: { size: string }[] } {
  return { dim: shape.map((n) => ({ size: String(n) })) }
}

export function placeholder(name: string, dtype: string, shape: readonly number[]): GraphNode {
  return { name, op: 'Placeholder', attr: { dtype: { type: dtype }, shape: { shape: dims(shape) } } }
}

/** The MLP as a graph model, `features` to `score`; with its signature or without one. */
export function writeGraphMlp(folder: string, mlp: Mlp, withSignature: boolean): string {
  // Without a signature, nodes go by their own names.
  const [input, output] = withSignature
    ? ['serving_default_features', 'StatefulPartitionedCall']
    : ['features', 'score']
  const nodes: GraphNode[] = [placeholder(input!, 'DT_FLOAT', [-1, mlp.width])]
  const weights: Weight[] = []
  const float = { T: { type: 'DT_FLOAT' } }
  let value = input!
  mlp.layers.forEach((layer, i) => {
    const outputs = layer.bias.length
    weights.push({ name: `w${i}`, shape: [layer.weights.length / outputs, outputs], data: layer.weights })
    weights.push({ name: `b${i}`, shape: [outputs], data: layer.bias })
    nodes.push({
      name: `m${i}`,
      op: 'MatMul',
      input: [value, `w${i}`],
      attr: { ...float, transpose_a: { b: false }, transpose_b: { b: false } },
    })
    nodes.push({ name: `z${i}`, op: 'BiasAdd', input: [`m${i}`, `b${i}`], attr: float })
    const activated = i === mlp.layers.length - 1 ? output! : `a${i}`
    nodes.push({ name: activated, op: layer.activation === 'relu' ? 'Relu' : 'Sigmoid', input: [`z${i}`], attr: float })
    value = activated
  })
  const signature = {
    inputs: { features: { name: `${input}:0`, dtype: 'DT_FLOAT', tensorShape: dims([-1, mlp.width]) } },
    outputs: { score: { name: `${output}:0`, dtype: 'DT_FLOAT', tensorShape: dims([-1, 2]) } },
  }
  return writeGraph(folder, nodes, weights, withSignature ? signature : undefined)
}

/** The MLP as a layers model; its input is `features`, its output the last layer's name, `score`. */
export function writeLayersMlp(folder: string, mlp: Mlp): string {
  const names = mlp.layers.map((_, i) => (i === mlp.layers.length - 1 ? 'score' : `dense_${i}`))
  const input = {
    class_name: 'InputLayer',
    name: 'features',
    config: { batch_input_shape: [null, mlp.width], dtype: 'float32', sparse: false, name: 'features' },
    inbound_nodes: [],
  }
  const dense = mlp.layers.map((layer, i) => ({
    class_name: 'Dense',
    name: names[i],
    config: { name: names[i], units: layer.bias.length, activation: layer.activation, use_bias: true, trainable: true },
    inbound_nodes: [[[i === 0 ? 'features' : names[i - 1], 0, 0, {}]]],
  }))
  const config = {
    name: 'mlp',
    layers: [input, ...dense],
    input_layers: [['features', 0, 0]],
    output_layers: [['score', 0, 0]],
  }
  const modelTopology = {
    keras_version: '2.1.6',
    backend: 'tensor_flow.js',
    model_config: { class_name: 'Model', config },
  }
  const weights = mlp.layers.flatMap((layer, i) => [
    {
      name: `${names[i]}/kernel`,
      shape: [layer.weights.length / layer.bias.length, layer.bias.length],
      data: layer.weights,
    },
    { name: `${names[i]}/bias`, shape: [layer.bias.length], data: layer.bias },
  ])
  return writeModel(folder, { format: 'layers-model', modelTopology }, weights)
}
