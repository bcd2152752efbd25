import { dtypeBytes, DType, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import type { Tensor, TensorDType } from './engine'

/*
 * Writes small ONNX models: enough of the format to turn weights that we trained ourselves into a file, and
 * no more. Field numbers are those of onnx.proto3 (ONNX 1.13, opset 17); the wire format is Protocol Buffers'.
 */

/** A declared input or output. A text dimension is free and named (`'N'`), a number is fixed. */
export interface OnnxValue {
  readonly name: string
  readonly dtype: TensorDType
  readonly shape: readonly (number | string)[]
}

export type OnnxAttribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly text: string }
  | { readonly ints: readonly number[] }
  | { readonly floats: readonly number[] }
  | { readonly tensor: Tensor }

/** One operation: `op` of the default ONNX domain, from named values to named values. */
export interface OnnxNode {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>
}

export interface OnnxGraph {
  readonly name?: string
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  /** Constant values by name. */
  readonly weights: Readonly<Record<string, Tensor>>
  /** In an order in which every input is there before it is used. */
  readonly nodes: readonly OnnxNode[]
}

/** One fully connected layer: `activation(x W + b)`. */
export interface DenseLayer {
  /** `[inputs, outputs]`, row-major. */
  readonly weights: Float32Array
  /** `[outputs]`. */
  readonly bias: Float32Array
  readonly activation: 'relu' | 'sigmoid' | 'linear'
}

/** The bytes of an ONNX file for `graph`. Checks nothing about operations: the engine that loads it does. */
export function writeOnnx(graph: OnnxGraph): Uint8Array {
  const nodes = graph.nodes.map((node) => message(1, nodeBytes(node)))
  const weights = Object.entries(graph.weights).map(([name, tensor]) => message(5, tensorBytes(tensor, name)))
  const body = [
    ...nodes,
    text(2, graph.name ?? 'millrace'),
    ...weights,
    ...graph.inputs.map((value) => message(11, valueBytes(value))),
    ...graph.outputs.map((value) => message(12, valueBytes(value))),
  ]
  const opset = Buffer.concat([text(1, ''), int(2, 17)])
  return Buffer.concat([int(1, 8), text(2, 'millrace'), message(7, Buffer.concat(body)), message(8, opset)])
}

/** A graph of dense layers on `[N, width]` floats. */
export function mlpGraph(mlp: {
  readonly input: string
  readonly output: string
  readonly layers: readonly DenseLayer[]
}): OnnxGraph {
  const weights: Record<string, Tensor> = {}
  const nodes: OnnxNode[] = []
  let value = mlp.input
  mlp.layers.forEach((layer, i) => {
    const last = i === mlp.layers.length - 1
    const [inputs, outputs] = [widthIn(layer), layer.bias.length]
    weights[`w${i}`] = { dtype: 'f32', shape: [inputs, outputs], data: layer.weights }
    weights[`b${i}`] = { dtype: 'f32', shape: [outputs], data: layer.bias }
    const op = { relu: 'Relu', sigmoid: 'Sigmoid', linear: 'Identity' }[layer.activation]
    const activated = last ? mlp.output : `a${i}`
    nodes.push({ op: 'Gemm', inputs: [value, `w${i}`, `b${i}`], outputs: [`z${i}`] })
    nodes.push({ op, inputs: [`z${i}`], outputs: [activated] })
    value = activated
  })
  return {
    inputs: [{ name: mlp.input, dtype: 'f32', shape: ['N', widthIn(mlp.layers[0]!)] }],
    outputs: [{ name: mlp.output, dtype: 'f32', shape: ['N', mlp.layers.at(-1)!.bias.length] }],
    weights,
    nodes,
  }
}

function widthIn(layer: DenseLayer): number {
  return layer.weights.length / layer.bias.length
}

/** TensorProto.DataType by our dtype. */
const onnxTypes: Readonly<Record<TensorDType, number>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  string: 8,
  bool: 9,
  f64: 11,
  u32: 12,
  u64: 13,
}

function nodeBytes(node: OnnxNode): Buffer {
  return Buffer.concat([
    ...node.inputs.map((name) => text(1, name)),
    ...node.outputs.map((name) => text(2, name)),
    text(4, node.op),
    ...Object.entries(node.attributes ?? {}).map(([name, attribute]) => message(5, attributeBytes(name, attribute))),
  ])
}

function attributeBytes(name: string, attribute: OnnxAttribute): Buffer {
  const value = (): Buffer[] => {
    if ('float' in attribute) return [float(2, attribute.float), int(20, 1)]
    if ('int' in attribute) return [int(3, attribute.int), int(20, 2)]
    if ('text' in attribute) return [text(4, attribute.text), int(20, 3)]
    if ('tensor' in attribute) return [message(5, tensorBytes(attribute.tensor, '')), int(20, 4)]
    if ('floats' in attribute) return [...attribute.floats.map((n) => float(7, n)), int(20, 6)]
    return [...attribute.ints.map((n) => int(8, n)), int(20, 7)]
  }
  return Buffer.concat([text(1, name), ...value()])
}

function tensorBytes(tensor: Tensor, name: string): Buffer {
  const { data } = tensor
  const elements = tensor.shape.reduce((product, n) => product * n, 1)
  if (data.length !== elements)
    throw new Error(`weight \`${name}\` has ${data.length} values for shape [${tensor.shape.join(',')}]`)
  return Buffer.concat([
    ...tensor.shape.map((n) => int(1, n)),
    int(2, onnxTypes[tensor.dtype]),
    ...(data instanceof Strings ? Array.from({ length: elements }, (_, i) => message(6, data.bytes(i))) : []),
    text(8, name),
    ...(data instanceof Strings ? [] : [message(9, rawBytes(tensor.dtype as DenseDType, data))]),
  ])
}

function rawBytes(dtype: DenseDType, data: DenseArray): Buffer {
  return Buffer.from(data.buffer as ArrayBuffer, data.byteOffset, data.length * dtypeBytes[DType[dtype]]!)
}

function valueBytes(value: OnnxValue): Buffer {
  const dims = value.shape.map((n) => message(1, typeof n === 'number' ? int(1, n) : text(2, n)))
  const tensorType = Buffer.concat([int(1, onnxTypes[value.dtype]), message(2, Buffer.concat(dims))])
  return Buffer.concat([text(1, value.name), message(2, message(1, tensorType))])
}

// Protocol Buffers: a tag is `field << 3 | kind`; kind 0 a varint, 2 length and bytes, 5 four bytes.

function varint(n: number): Buffer {
  const bytes: number[] = []
  // As 64-bit two's complement, so that negative attributes are right too.
  let rest = BigInt.asUintN(64, BigInt(n))
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    bytes.push(rest > 0n ? low | 0x80 : low)
  } while (rest > 0n)
  return Buffer.from(bytes)
}

function int(field: number, n: number): Buffer {
  return Buffer.concat([varint(field << 3), varint(n)])
}

function float(field: number, n: number): Buffer {
  const value = Buffer.alloc(4)
  value.writeFloatLE(n)
  return Buffer.concat([varint((field << 3) | 5), value])
}

function message(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes])
}

function text(field: number, value: string): Buffer {
  return message(field, Buffer.from(value, 'utf8'))
}
