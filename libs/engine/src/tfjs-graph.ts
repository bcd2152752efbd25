import { shapeProto, type AttrValue, type GraphDef, type NodeDef, type WrittenGraph } from './graph-def'
import type { SignaturePort } from './saved-model'
import { dataTypeName, protobufLists } from './tensorflow-proto'
import type { TfjsWeight } from './tfjs-weights'

/*
 * A TFJS graph model as TensorFlow's own GraphDef. Its topology is one already, in protobuf's JSON, but for its
 * weights, which are beside it; for operations that TFJS's converter fused, which TensorFlow fuses again by itself;
 * and for 64-bit integers, which TFJS holds as int32: that is how they go in and out here too.
 */

/** A tensor that users know, with TensorFlow's own type where the file says it (`DT_INT64`). */
export interface TfjsPort extends SignaturePort {
  readonly graphType: string | undefined
}

/** Throws an Error that says what cannot be written. */
export function graphOfTfjs(
  topology: object,
  weights: ReadonlyMap<string, TfjsWeight>,
  inputs: readonly TfjsPort[],
  outputs: readonly TfjsPort[],
): WrittenGraph {
  const { node: topologyNodes, library } = protobufLists('GraphDef', topology) as unknown as Topology
  const nodes = topologyNodes.flatMap((node) => nodesOf(node, weights))
  const functions = (library?.function ?? []).map((definition) => ({
    ...definition,
    nodeDef: (definition.nodeDef ?? []).map((node) => nodeOfFunction(node, weights)),
  }))
  const [inputNodes, inputPorts] = narrowInputs(nodes, inputs)
  const [outputNodes, outputPorts] = narrowOutputs(outputs)
  const graph: GraphDef = {
    node: [...inputNodes, ...outputNodes],
    ...(functions.length > 0 && { library: { function: functions } }),
  }
  return { graph, inputs: inputPorts, outputs: outputPorts }
}

interface Topology {
  readonly node: readonly NodeDef[]
  readonly library?: { readonly function?: readonly { readonly nodeDef?: readonly NodeDef[] }[] }
}

/** Operations whose state lives outside the graph; TFJS keeps it in JavaScript. */
const stateful = /^(HashTable|MutableHashTable|LookupTable|VarHandleOp|Variable|TensorArray)/

function nodesOf(node: NodeDef, weights: ReadonlyMap<string, TfjsWeight>): NodeDef[] {
  if (stateful.test(node.op)) throw new Error(`node ${node.name} is a ${node.op}, whose state is not in the graph`)
  const weight = weights.get(node.name)
  if (node.op === 'Const' && weight !== undefined) {
    const made = constant(node.name, weight, node.attr?.['dtype']?.type)
    // What a constant of a loop waits for says which loop it is in.
    return [node.input === undefined ? made : { ...made, input: node.input }]
  }
  const plain: NodeDef = { ...node, attr: ownAttributes(node.attr) }
  const core = fusedCores[node.op]
  if (core !== undefined) return unfused(plain, core)
  if (node.op === 'Prelu') return prelu(node.name, node.input![0]!, node.input![1]!)
  return [plain]
}

function nodeOfFunction(node: NodeDef, weights: ReadonlyMap<string, TfjsWeight>): NodeDef {
  const nodes = nodesOf(node, weights)
  if (nodes.length !== 1) throw new Error(`node ${node.name} is a ${node.op} inside a function`)
  return nodes[0]!
}

/** Those that begin with an underscore are remarks of whoever made the graph: shapes, places, neighbours. */
function ownAttributes(attributes: NodeDef['attr']): Record<string, AttrValue> {
  return Object.fromEntries(Object.entries(attributes ?? {}).filter(([name]) => !name.startsWith('_')))
}

function constant(name: string, weight: TfjsWeight, type: string | number | undefined): NodeDef {
  const dtype =
    type ??
    { float32: 'DT_FLOAT', int32: 'DT_INT32', bool: 'DT_BOOL', string: 'DT_STRING', complex64: 'DT_COMPLEX64' }[
      weight.dtype
    ]
  const tensorShape = shapeProto(weight.shape)
  const value =
    weight.dtype === 'string'
      ? { dtype, tensorShape, stringVal: weight.texts }
      : { dtype, tensorShape, tensorContent: contentOf(name, weight, dtype) }
  return { name, op: 'Const', attr: { dtype: { type: dtype }, value: { tensor: value } } }
}

/** A weight's bytes in the type that the graph wants: TFJS stores all integers as int32, all reals as float32. */
function contentOf(name: string, { bytes, dtype }: TfjsWeight, type: string | number): Uint8Array {
  const own = { float32: 'DT_FLOAT', int32: 'DT_INT32', bool: 'DT_BOOL', complex64: 'DT_COMPLEX64', string: '' }[dtype]
  const wanted = dataTypeName(type)
  if (wanted === own) return bytes
  const make = dtype === 'int32' ? integers[wanted] : undefined
  if (make === undefined) throw new Error(`weight ${name} is ${dtype}, the graph wants ${wanted}`)
  const aligned = new Int32Array(new Uint8Array(bytes).buffer)
  return new Uint8Array(make(aligned).buffer)
}

const integers: Readonly<Record<string, (values: Int32Array) => { readonly buffer: ArrayBufferLike }>> = {
  DT_INT64: (values) => BigInt64Array.from(values, BigInt),
  DT_UINT8: (values) => Uint8Array.from(values),
  DT_INT8: (values) => Int8Array.from(values),
  DT_INT16: (values) => Int16Array.from(values),
  DT_UINT16: (values) => Uint16Array.from(values),
}

const fusedCores: Readonly<Record<string, string>> = {
  _FusedConv2D: 'Conv2D',
  FusedConv2D: 'Conv2D',
  _FusedMatMul: 'MatMul',
  FusedDepthwiseConv2dNative: 'DepthwiseConv2dNative',
  _FusedDepthwiseConv2dNative: 'DepthwiseConv2dNative',
}
/** Attributes of the fused operation alone. */
const fusedOnly = new Set(['fused_ops', 'num_args', 'epsilon', 'leakyrelu_alpha', 'TArgs', 'num_host_args'])
const activations = new Set(['Relu', 'Relu6', 'Elu', 'Sigmoid', 'Tanh', 'LeakyRelu'])

/** A fused node as the operations that it was made of; the last one has its name. */
function unfused(node: NodeDef, core: string): NodeDef[] {
  const attributes = node.attr ?? {}
  const type: Record<string, AttrValue> = { T: attributes['T'] ?? { type: 'DT_FLOAT' } }
  const steps = (attributes['fused_ops']?.list?.s ?? []).map((s) =>
    Buffer.from(s as string, typeof s === 'string' ? 'base64' : undefined).toString(),
  )
  const [x, weights, ...rest] = node.input!
  const control = rest.filter((name) => name.startsWith('^'))
  const more = rest.filter((name) => !name.startsWith('^'))
  const own = Object.fromEntries(Object.entries(attributes).filter(([name]) => !fusedOnly.has(name)))
  const nodes: NodeDef[] = [
    {
      name: steps.length === 0 ? node.name : `${node.name}/core`,
      op: core,
      input: [x!, weights!, ...control],
      attr: own,
    },
  ]
  // What a step reads is its own argument, which need not be in their order: see the converter's fused_ops.
  steps.forEach((step, i) => {
    const value = nodes.at(-1)!.name
    const name = i === steps.length - 1 ? node.name : `${node.name}/${step}`
    if (step === 'BiasAdd') {
      const format = core === 'MatMul' ? {} : { data_format: attributes['data_format'] ?? { s: Buffer.from('NHWC') } }
      nodes.push({ name, op: 'BiasAdd', input: [value, more.shift()!], attr: { ...type, ...format } })
    } else if (step === 'Prelu') nodes.push(...prelu(name, value, more.shift()!))
    else if (activations.has(step)) {
      const alpha = step === 'LeakyRelu' ? { alpha: attributes['leakyrelu_alpha'] ?? { f: 0.2 } } : {}
      nodes.push({ name, op: step, input: [value], attr: { ...type, ...alpha } })
    } else throw new Error(`node ${node.name} is a ${node.op} of ${steps.join(', ')}`)
  })
  if (more.length > 0) throw new Error(`node ${node.name} has ${more.length} inputs more than ${steps.join(', ')} take`)
  return nodes
}

/** max(x, 0) - alpha max(-x, 0), of TFJS's own operation. */
function prelu(name: string, x: string, alpha: string): NodeDef[] {
  const attr = { T: { type: 'DT_FLOAT' } }
  const part = (step: string, op: string, ...input: string[]): NodeDef => ({ name: `${name}/${step}`, op, input, attr })
  return [
    part('above', 'Relu', x),
    part('negative', 'Neg', x),
    part('below', 'Relu', `${name}/negative`),
    part('scaled', 'Mul', alpha, `${name}/below`),
    { name, op: 'Sub', input: [`${name}/above`, `${name}/scaled`], attr },
  ]
}

/** Integers that TFJS knows as int32. */
const integersOfTfjs = new Set(['DT_INT64', 'DT_INT8', 'DT_UINT8'])

/** Other integers come as int32 and are cast to what the graph wants. */
function narrowInputs(nodes: readonly NodeDef[], ports: readonly TfjsPort[]): [NodeDef[], SignaturePort[]] {
  const all = [...nodes]
  const narrowed = ports.map((port) => {
    const index = all.findIndex(({ name }) => name === port.tensor.replace(/:0$/, ''))
    const node = all[index]
    if (node === undefined) throw new Error(`there is no node ${port.tensor} for input \`${port.name}\``)
    const type = dataTypeName(node.attr?.['dtype']?.type ?? port.graphType ?? '')
    if (!integersOfTfjs.has(type)) return port
    const tensor = `${node.name}/as_int32`
    all[index] = cast(node.name, tensor, 'DT_INT32', type)
    all.push({ name: tensor, op: 'Placeholder', attr: { ...node.attr, dtype: { type: 'DT_INT32' } } })
    return { ...port, tensor }
  })
  return [all, narrowed]
}

function narrowOutputs(ports: readonly TfjsPort[]): [NodeDef[], SignaturePort[]] {
  const casts: NodeDef[] = []
  const narrowed = ports.map((port, i) => {
    if (port.graphType === undefined || !integersOfTfjs.has(port.graphType)) return port
    const tensor = `millrace/output_${i}`
    casts.push(cast(tensor, port.tensor, port.graphType, 'DT_INT32'))
    return { ...port, tensor }
  })
  return [casts, narrowed]
}

function cast(name: string, input: string, from: string, to: string): NodeDef {
  return { name, op: 'Cast', input: [input], attr: { SrcT: { type: from }, DstT: { type: to } } }
}
