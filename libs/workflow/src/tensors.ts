import {
  denseArray,
  dtypeNames,
  isRaggedDType,
  Strings,
  type DenseArray,
  type DenseArrays,
  type DenseDType,
} from '@millrace/base'
import { describeSpec, type Tensor, type TensorDType, type Tensors, type TensorSpec } from '@millrace/engine'

type TensorData = DenseArray | Strings

interface Slot {
  readonly spec: TensorSpec
  /** Grows to the largest batch seen and stays; empty for strings, which are always handed over. */
  buffer: DenseArray
  given: boolean
  readonly tensor: { dtype: TensorDType; shape: readonly number[]; data: TensorData }
}

/** `IntoTensor` or `IntoStrings` of declare.ts, untyped. */
type Give = (shape: readonly number[], data?: TensorData) => TensorData

/**
 * The inputs of one loaded model, filled anew by each batch. One thread owns it and one batch at a time uses it, so
 * a batch that is no larger than one before allocates nothing but, when its size changed, a view.
 */
export class ModelInputs {
  /** What `preprocess` gets. */
  readonly into: Readonly<Record<string, Give>>
  /** What the engine gets; complete when `check` did not throw. */
  readonly tensors: Tensors
  private readonly slots: readonly Slot[]

  constructor(specs: readonly TensorSpec[]) {
    this.slots = specs.map((spec) => {
      const buffer = denseArray(spec.dtype === 'string' ? 'u8' : spec.dtype, 0)
      const data = spec.dtype === 'string' ? Strings.of([]) : buffer
      return { spec, buffer, given: false, tensor: { dtype: spec.dtype, shape: [], data } }
    })
    this.into = Object.fromEntries(
      this.slots.map((slot): [string, Give] => [
        slot.spec.name,
        slot.spec.dtype === 'string'
          ? (shape, data) => giveStrings(slot, shape, data)
          : (shape, data) => giveDense(slot, shape, data),
      ]),
    )
    this.tensors = Object.fromEntries(this.slots.map((slot) => [slot.spec.name, slot.tensor as Tensor]))
  }

  /** Before each batch. */
  begin(): void {
    for (const slot of this.slots) slot.given = false
  }

  /** Throws an Error that names the input that `preprocess` left out. */
  check(): void {
    for (const slot of this.slots)
      if (!slot.given)
        throw new Error(`preprocess gave no model input '${slot.spec.name}' (${describeSpec(slot.spec)})`)
  }
}

function giveDense(slot: Slot, shape: readonly number[], data?: TensorData): TensorData {
  const dtype = slot.spec.dtype as DenseDType
  const length = checkShape(slot.spec, shape)
  const tensor = slot.tensor
  if (data !== undefined) {
    checkLength(slot.spec, shape, length, data)
    tensor.data = tensorData(slot.spec, data)
  } else {
    if (slot.buffer.length < length) slot.buffer = denseArray(dtype, length)
    if ((tensor.data as DenseArray).buffer !== slot.buffer.buffer || tensor.data.length !== length)
      tensor.data = slot.buffer.subarray(0, length) as DenseArray
    ;(tensor.data as DenseArrays['f32']).fill(zero(dtype) as number)
  }
  tensor.shape = shape
  slot.given = true
  return tensor.data
}

function giveStrings(slot: Slot, shape: readonly number[], data: unknown): Strings {
  const length = checkShape(slot.spec, shape)
  const strings = Array.isArray(data) ? Strings.of(data as string[]) : (tensorData(slot.spec, data) as Strings)
  checkLength(slot.spec, shape, length, strings)
  slot.tensor.data = strings
  slot.tensor.shape = shape
  slot.given = true
  return strings
}

function isStrings(data: unknown): data is { spans: Uint32Array; heap: Buffer; length: number } {
  return typeof data === 'object' && data !== null && 'spans' in data && 'heap' in data
}

function checkLength(spec: TensorSpec, shape: readonly number[], length: number, data: { length: number }): void {
  if (data.length !== length)
    throw new Error(
      `model input '${spec.name}' of shape [${shape.join(',')}] takes ${length} elements, not ${data.length}`,
    )
}

/** Throws an Error when `data` is not what holds the input's dtype. By name: arrays of other realms count. */
export function tensorData(spec: TensorSpec, data: unknown): TensorData {
  const given = (data as object | null | undefined)?.constructor.name ?? String(data)
  if (spec.dtype === 'string' && isStrings(data))
    return data instanceof Strings ? data : new Strings(data.spans, data.heap, data.length)
  if (spec.dtype !== 'string' && given === arrayNames[spec.dtype]) return data as DenseArray
  const wanted = spec.dtype === 'string' ? 'Strings' : arrayNames[spec.dtype]
  throw new Error(`model input '${spec.name}' is ${spec.dtype}: it takes a ${wanted}, not ${given}`)
}

const arrayNames = Object.fromEntries(
  dtypeNames.flatMap((name) =>
    name === 'none' || isRaggedDType(name) ? [] : [[name, denseArray(name, 0).constructor.name]],
  ),
) as Record<DenseDType, string>

/** Elements of the shape, which must fit the model's own. */
function checkShape(spec: TensorSpec, shape: readonly number[]): number {
  let length = 1
  let fits = shape.length === spec.shape.length
  for (let d = 0; d < shape.length; d++) {
    length *= shape[d]!
    const fixed = spec.shape[d]
    if (fixed !== null && fixed !== shape[d]) fits = false
  }
  if (!fits || !Number.isInteger(length) || length < 0)
    throw new Error(`model input '${spec.name}' is ${describeSpec(spec)}; shape [${shape.join(',')}] does not fit`)
  return length
}

export function zero(dtype: DenseDType): number | bigint {
  return dtype === 'i64' || dtype === 'u64' ? 0n : 0
}
