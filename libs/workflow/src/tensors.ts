import { denseArray, type DenseArray, type DenseArrays, type DenseDType } from '@millrace/base'
import { describeSpec, type Tensor, type Tensors, type TensorSpec } from '@millrace/engine'
import type { IntoTensor } from './declare'

/** `checkModel` refuses others. */
type DenseSpec = TensorSpec & { readonly dtype: DenseDType }

interface Slot {
  readonly spec: DenseSpec
  /** Grows to the largest batch seen and stays. */
  buffer: DenseArray
  given: boolean
  readonly tensor: { dtype: DenseDType; shape: readonly number[]; data: DenseArray }
}

/**
 * The inputs of one loaded model, filled anew by each batch. One thread owns it and one batch at a time uses it, so
 * a batch that is no larger than one before allocates nothing but, when its size changed, a view.
 */
export class ModelInputs {
  /** What `preprocess` gets. */
  readonly into: Readonly<Record<string, IntoTensor<DenseDType>>>
  /** What the engine gets; complete when `check` did not throw. */
  readonly tensors: Tensors
  private readonly slots: readonly Slot[]

  constructor(specs: readonly TensorSpec[]) {
    this.slots = (specs as readonly DenseSpec[]).map((spec) => {
      const empty = denseArray(spec.dtype, 0)
      return { spec, buffer: empty, given: false, tensor: { dtype: spec.dtype, shape: [], data: empty } }
    })
    this.into = Object.fromEntries(
      this.slots.map((slot) => [
        slot.spec.name,
        (shape: readonly number[], data?: DenseArray) => give(slot, shape, data),
      ]),
    ) as ModelInputs['into']
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

function give(slot: Slot, shape: readonly number[], data?: DenseArray): DenseArray {
  const length = checkShape(slot.spec, shape)
  const tensor = slot.tensor
  if (data !== undefined) {
    if (data.length !== length)
      throw new Error(
        `model input '${slot.spec.name}' of shape [${shape.join(',')}] takes ${length} elements, not ${data.length}`,
      )
    if (data.constructor.name !== slot.buffer.constructor.name)
      throw new Error(`model input '${slot.spec.name}' is ${slot.spec.dtype}, not a ${data.constructor.name}`)
    tensor.data = data
  } else {
    if (slot.buffer.length < length) slot.buffer = denseArray(slot.spec.dtype, length)
    if (tensor.data.buffer !== slot.buffer.buffer || tensor.data.length !== length)
      tensor.data = slot.buffer.subarray(0, length) as DenseArray
    ;(tensor.data as DenseArrays['f32']).fill(zero(slot.spec.dtype) as number)
  }
  tensor.shape = shape
  slot.given = true
  return tensor.data
}

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
