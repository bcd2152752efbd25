import type { AttrValue } from './graph-def'

/** The part of tfjs-node's addon that its backend runs operations through. Tensors are numbers. */
export interface Binding {
  createTensor(shape: number[], dtype: number, values: Values): number
  executeOp(
    op: string,
    attributes: readonly OpAttribute[],
    inputs: readonly number[],
    outputs: number,
  ): TensorMetadata[]
  tensorDataSync(id: number): Values
  deleteTensor(id: number): void
}
export type Values = Float32Array | Int32Array | Uint8Array | BigInt64Array | readonly Uint8Array[]
interface OpAttribute {
  readonly name: string
  readonly type: number
  readonly value: unknown
}
interface TensorMetadata {
  readonly id: number
  readonly shape: readonly number[]
  readonly dtype: number
}

/** What an operation reads: an input of the model, a constant, or an output of an earlier operation. */
export type Source =
  | { readonly input: number }
  | { readonly constant: number }
  | { readonly op: number; readonly output: number }

export interface Constant {
  readonly shape: readonly number[]
  /** TensorFlow's type. */
  readonly type: number
  readonly values: Values
}
export interface RecordedOp {
  readonly op: string
  readonly attr: Readonly<Record<string, AttrValue>>
  readonly inputs: readonly Source[]
}

/** Everything that one run did. */
export interface Recording {
  readonly ops: readonly RecordedOp[]
  readonly constants: readonly Constant[]
  /** What was read at the end, in order. */
  readonly results: readonly Source[]
}

/** What a backend of tfjs-node is given instead of its addon while it is recorded: the addon, and a notebook. */
export class RecordingBinding {
  private readonly sources = new Map<number, Source>()
  private readonly ops: RecordedOp[] = []
  private readonly constants: Constant[] = []
  private readonly results: Source[] = []

  /** @param inputs the arrays of the model's inputs: a tensor over one of them is that input */
  constructor(
    private readonly real: Binding,
    private readonly inputs: readonly unknown[],
  ) {}

  /** The addon with this instead of its functions. */
  get binding(): Binding {
    return Object.create(this.real as object, {
      createTensor: { value: this.createTensor.bind(this) },
      executeOp: { value: this.executeOp.bind(this) },
      tensorDataSync: { value: this.tensorDataSync.bind(this) },
    }) as Binding
  }

  recording(): Recording {
    return { ops: this.ops, constants: this.constants, results: this.results }
  }

  private createTensor(shape: number[], type: number, values: Values): number {
    const id = this.real.createTensor(shape, type, values)
    const input = this.inputs.indexOf(values)
    this.sources.set(id, input >= 0 ? { input } : this.constant({ shape: [...shape], type, values }))
    return id
  }

  private executeOp(
    op: string,
    attributes: readonly OpAttribute[],
    ids: readonly number[],
    outputs: number,
  ): TensorMetadata[] {
    const inputs = ids.map((id) => this.sourceOf(id))
    // The one kernel that reads while it runs reads its indices, to throw for those that are out of range.
    if (op === 'GatherV2' && this.results.at(-1) === inputs[1]) this.results.pop()
    if (this.results.length > 0) throw new Error(`${op} follows a value that was read: the graph depends on values`)
    const metadata = this.real.executeOp(op, attributes, ids, outputs)
    const attr = Object.fromEntries(attributes.map(({ name, type, value }) => [name, attrValue(type, value)]))
    this.ops.push({ op, attr, inputs })
    metadata.forEach(({ id }, output) => this.sources.set(id, { op: this.ops.length - 1, output }))
    return metadata
  }

  private tensorDataSync(id: number): Values {
    this.results.push(this.sourceOf(id))
    return this.real.tensorDataSync(id)
  }

  /** What was there before the recording is a constant: a weight. */
  private sourceOf(id: number): Source {
    let source = this.sources.get(id)
    if (source === undefined) {
      const [copy] = this.real.executeOp('Identity', [], [id], 1)
      source = this.constant({ shape: copy!.shape, type: copy!.dtype, values: this.real.tensorDataSync(copy!.id) })
      this.real.deleteTensor(copy!.id)
      this.sources.set(id, source)
    }
    return source
  }

  private constant(constant: Constant): Source {
    return { constant: this.constants.push(constant) - 1 }
  }
}

/** By TensorFlow's TF_AttrType. */
function attrValue(type: number, value: unknown): AttrValue {
  const list = Array.isArray(value)
  switch (type) {
    case 0:
      return { s: Buffer.from(value as string) }
    case 1:
      return list ? { list: { i: value as number[] } } : { i: value as number }
    case 2:
      return list ? { list: { f: value as number[] } } : { f: value as number }
    case 3:
      return list ? { list: { b: value as boolean[] } } : { b: value as boolean }
    case 4:
      return { type: value as number }
    case 5:
      return { shape: { dim: (value as number[]).map((size) => ({ size })) } }
    default:
      throw new Error(`an attribute of TensorFlow's kind ${type}`)
  }
}
