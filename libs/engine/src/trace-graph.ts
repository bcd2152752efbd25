import { shapeProto, type NodeDef, type WrittenGraph } from './graph-def'
import type { Constant, RecordedOp, Recording, Source, Values } from './record-ops'
import type { SignaturePort } from './saved-model'
import { tensorflowTypes } from './tensorflow-dtype'

/*
 * One graph of two recordings of the same model, at two batch sizes. What is the same in both is as it is; a constant
 * that differs depends on the batch, and must do so as c * rows + d, or be one value in such a shape.
 */

const i32 = { type: 'DT_INT32' }

/** The model's inputs and outputs, whose `tensor` names are this function's to give. */
export function graphOfRecordings(
  rows: readonly [number, number],
  recordings: readonly [Recording, Recording],
  inputs: readonly SignaturePort[],
  outputs: readonly SignaturePort[],
): WrittenGraph {
  const [a, b] = recordings
  if (a.ops.length !== b.ops.length || a.constants.length !== b.constants.length)
    throw new Error(`it runs ${a.ops.length} operations for ${rows[0]} rows and ${b.ops.length} for ${rows[1]}`)
  if (a.results.length !== outputs.length) throw new Error('it reads values while it runs')
  const batch = new Batch(rows, tensorflowTypes[inputs[0]!.dtype])
  const nodes: NodeDef[] = inputs.map(({ dtype, shape }, i) => ({
    name: `input_${i}`,
    op: 'Placeholder',
    attr: { dtype: { type: tensorflowTypes[dtype] }, shape: { shape: shapeProto(shape!) } },
  }))
  const reshaped = shapesOfReshapes(a)
  const constants = a.constants.map((one, i) => batch.constant(`constant_${i}`, one, b.constants[i]!, reshaped.has(i)))
  const ops = a.ops.map((op, i): NodeDef => {
    const where = differenceOf(op, b.ops[i]!)
    if (where !== null)
      throw new Error(`operation ${op.op} has another ${where} for ${rows[0]} rows than for ${rows[1]}`)
    return { name: `op_${i}`, op: op.op, input: op.inputs.map(nameOf), attr: op.attr }
  })
  const tensors = (ports: readonly SignaturePort[], name: (i: number) => string): SignaturePort[] =>
    ports.map((port, i) => ({ ...port, tensor: name(i) }))
  return {
    graph: { node: [...nodes, ...batch.nodes, ...constants.flat(), ...ops] },
    inputs: tensors(inputs, (i) => `input_${i}:0`),
    outputs: tensors(outputs, (i) => nameOf(a.results[i]!)),
  }
}

function nameOf(source: Source): string {
  if ('input' in source) return `input_${source.input}:0`
  return 'constant' in source ? `constant_${source.constant}:0` : `op_${source.op}:${source.output}`
}

function differenceOf(a: RecordedOp, b: RecordedOp): string | null {
  if (a.op !== b.op) return 'kind'
  if (JSON.stringify(a.inputs) !== JSON.stringify(b.inputs)) return 'input'
  return JSON.stringify(a.attr) === JSON.stringify(b.attr) ? null : 'attribute'
}

/** Constants that are only ever the shape of a Reshape: there, one unknown dimension may be left to TensorFlow. */
function shapesOfReshapes({ ops }: Recording): ReadonlySet<number> {
  const shapes = new Set<number>()
  const others = new Set<number>()
  for (const { op, inputs } of ops)
    inputs.forEach((source, i) => {
      if ('constant' in source) (op === 'Reshape' && i === 1 ? shapes : others).add(source.constant)
    })
  for (const other of others) shapes.delete(other)
  return shapes
}

/** What depends on the batch, as nodes that compute it. */
class Batch {
  /** The number of rows, once somebody needs it. */
  readonly nodes: NodeDef[] = []

  constructor(
    private readonly rows: readonly [number, number],
    /** Of the first input, which the number of rows is taken from. */
    private readonly type: number,
  ) {}

  /** Nodes of which the last is the constant `name`. */
  constant(name: string, a: Constant, b: Constant, isReshape: boolean): NodeDef[] {
    if (a.type !== b.type) throw new Error('a constant changes its type with the batch')
    const [x, y] = [elements(a.values), elements(b.values)]
    const sameShape = a.shape.join() === b.shape.join()
    if (sameShape && x.length === y.length && x.every((n, i) => Object.is(n, y[i]) || same(n, y[i]!)))
      return [constNode(name, a)]
    if (sameShape && a.type === tensorflowTypes.i32 && a.shape.length <= 1) {
      const parts = x.map((n, i) => this.part(n as number, y[i] as number))
      const free = parts.filter(([scale]) => scale !== 0)
      if (isReshape && free.length === 1 && free[0]![1] === 0)
        return [
          constNode(name, { ...a, values: Int32Array.from(parts, ([scale, offset]) => (scale === 0 ? offset : -1)) }),
        ]
      return a.shape.length === 0 ? this.scalar(name, parts[0]!) : this.vector(name, parts)
    }
    if (!sameShape && a.shape.length === b.shape.length && oneValue(x) && oneValue(y) && x[0] === y[0]) {
      const dims = this.vector(
        `${name}/shape`,
        a.shape.map((n, d) => this.part(n, b.shape[d]!)),
      )
      const value = constNode(`${name}/value`, { shape: [], type: a.type, values: a.values.slice(0, 1) as Values })
      const attr = { T: { type: a.type }, index_type: i32 }
      return [...dims, value, { name, op: 'Fill', input: [`${name}/shape`, `${name}/value`], attr }]
    }
    throw new Error(
      `a constant of shape [${a.shape.join()}] depends on the batch in a way that is not scale and offset`,
    )
  }

  /** `[scale, offset]` of a number that is scale * rows + offset. */
  private part(x: number, y: number): readonly [number, number] {
    const scale = (y - x) / (this.rows[1] - this.rows[0])
    if (!Number.isInteger(scale))
      throw new Error(`a size is ${x} for ${this.rows[0]} rows and ${y} for ${this.rows[1]}`)
    return [scale, x - scale * this.rows[0]]
  }

  private scalar(name: string, [scale, offset]: readonly [number, number]): NodeDef[] {
    const number = (part: string, n: number): NodeDef =>
      constNode(`${name}/${part}`, { shape: [], type: tensorflowTypes.i32, values: Int32Array.of(n) })
    if (scale === 0) return [{ ...number('', offset), name }]
    const attr = { T: i32 }
    return [
      number('scale', scale),
      number('offset', offset),
      { name: `${name}/scaled`, op: 'Mul', input: [this.rowsNode(), `${name}/scale`], attr },
      { name, op: 'AddV2', input: [`${name}/scaled`, `${name}/offset`], attr },
    ]
  }

  private vector(name: string, parts: readonly (readonly [number, number])[]): NodeDef[] {
    const input = parts.map((_, i) => `${name}/${i}`)
    const attr = { N: { i: parts.length }, T: i32, axis: { i: 0 } }
    return [...parts.flatMap((part, i) => this.scalar(input[i]!, part)), { name, op: 'Pack', input, attr }]
  }

  private rowsNode(): string {
    if (this.nodes.length === 0) {
      const number = (name: string, n: number): NodeDef =>
        constNode(name, { shape: [1], type: tensorflowTypes.i32, values: Int32Array.of(n) })
      this.nodes.push(
        { name: 'rows/shape', op: 'Shape', input: ['input_0:0'], attr: { T: { type: this.type }, out_type: i32 } },
        number('rows/first', 0),
        number('rows/one', 1),
        {
          name: 'rows',
          op: 'StridedSlice',
          input: ['rows/shape', 'rows/first', 'rows/one', 'rows/one'],
          attr: { T: i32, Index: i32, shrink_axis_mask: { i: 1 } },
        },
      )
    }
    return 'rows'
  }
}

function constNode(name: string, { shape, type, values }: Constant): NodeDef {
  const common = { dtype: type, tensorShape: shapeProto(shape) }
  const tensor =
    'buffer' in values
      ? { ...common, tensorContent: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) }
      : { ...common, stringVal: values }
  return { name, op: 'Const', attr: { dtype: { type }, value: { tensor } } }
}

function elements(values: Values): (number | bigint | Uint8Array)[] {
  return Array.from(values as ArrayLike<number | bigint | Uint8Array>)
}

function same(a: number | bigint | Uint8Array, b: number | bigint | Uint8Array): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0
}

function oneValue(values: readonly unknown[]): boolean {
  return values.length > 0 && values.every((value) => value === values[0])
}
