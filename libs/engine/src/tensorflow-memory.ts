import { denseArray, denseView, DType, dtypeBytes, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import type { Tensor, TensorDType } from './engine'
import type { Libtensorflow, Pointer } from './libtensorflow'
import { dtypeOfTensorflow, tensorflowTypeName, tensorflowTypes } from './tensorflow-dtype'

/** Bytes of TensorFlow's `TF_TString`, the element of a string tensor (tensorflow/core/platform/ctstring_internal.h). */
const stringBytes = 24
/** Bytes of text that a `TF_TString` holds itself. */
const smallMax = 22
const kind = { small: 0, large: 1, offset: 2, view: 3 } as const

/**
 * One input's native memory, kept between runs, and the tensor over it. TensorFlow reads it in place: the only copy
 * is the one from the batch. It never outlives `free`, and is never the library's to free, whatever becomes of a run.
 */
export class InputMemory {
  private block: Pointer = 0n
  private data: Pointer = 0n
  private capacity = 0
  private array: DenseArray
  private tensor: Pointer = 0n
  private shape: number[] = []
  private readonly type: number

  constructor(
    private readonly tf: Libtensorflow,
    private readonly dtype: Tensor['dtype'],
  ) {
    this.type = tensorflowTypes[dtype]
    this.array = denseArray('u8', 0)
  }

  /** The address of a tensor that holds what `input` holds, valid until the next `fill`. */
  fill(input: Tensor): Pointer {
    const { data, shape } = input
    if (data instanceof Strings) return this.fillStrings(data, shape)
    const bytes = data.byteLength
    if (this.block === 0n || bytes > this.capacity) this.grow(bytes, this.dtype as DenseDType)
    ;(this.array as Float32Array).set(data as Float32Array)
    return this.tensorOf(shape, bytes)
  }

  free(): void {
    if (this.tensor !== 0n) this.tf.deleteTensor(this.tensor)
    if (this.block !== 0n) this.tf.deleteTensor(this.block)
    this.tensor = this.block = 0n
  }

  private fillStrings(strings: Strings, shape: readonly number[]): Pointer {
    const { length, spans } = strings
    let bytes = length * stringBytes
    for (let i = 0; i < length; i++) if (spans[2 * i + 1]! > smallMax) bytes += spans[2 * i + 1]!
    if (this.block === 0n || bytes > this.capacity) this.grow(bytes, 'u8')
    const memory = this.array as Uint8Array
    const words = new DataView(memory.buffer, 0, length * stringBytes)
    let heap = length * stringBytes
    for (let i = 0, at = 0; i < length; i++, at += stringBytes) {
      const text = strings.bytes(i)
      if (text.length <= smallMax) {
        memory[at] = (text.length << 2) | kind.small
        memory.set(text, at + 1)
        memory[at + 1 + text.length] = 0
        continue
      }
      // Owned by this memory, but `large`, so that whoever keeps such a string copies its bytes.
      words.setBigUint64(at, (BigInt(text.length) << 2n) | BigInt(kind.large), true)
      words.setBigUint64(at + 8, BigInt(text.length), true)
      words.setBigUint64(at + 16, this.data + BigInt(heap), true)
      memory.set(text, heap)
      heap += text.length
    }
    return this.tensorOf(shape, length * stringBytes)
  }

  private tensorOf(shape: readonly number[], bytes: number): Pointer {
    if (this.tensor !== 0n && sameShape(this.shape, shape)) return this.tensor
    if (this.tensor !== 0n) this.tf.deleteTensor(this.tensor)
    this.shape = [...shape]
    const dims = BigInt64Array.from(shape, BigInt)
    this.tensor = this.tf.newTensor(this.type, dims, dims.length, this.data, bytes, this.tf.keep, null)
    return this.tensor
  }

  /** Memory of TensorFlow's own alignment, without which it would copy. */
  private grow(bytes: number, dtype: DenseDType): void {
    this.free()
    this.capacity = Math.max(64, 2 ** Math.ceil(Math.log2(bytes)))
    this.block = this.tf.allocateTensor(tensorflowTypes.u8, BigInt64Array.of(BigInt(this.capacity)), 1, this.capacity)
    this.data = this.tf.tensorData(this.block)
    const elements = this.capacity / dtypeBytes[DType[dtype]]!
    this.array = denseView(dtype, this.tf.view(this.data, this.capacity), 0, elements)
  }
}

/** Copies a tensor that TensorFlow owns; `before` is the array of the run before, used again where it fits. */
export function readTensor(
  tf: Libtensorflow,
  tensor: Pointer,
  { name, dtype }: { readonly name: string; readonly dtype: TensorDType },
  before: Tensor['data'] | null,
): Tensor {
  const type = tf.tensorType(tensor)
  if (type !== tensorflowTypes[dtype])
    throw new Error(
      `output \`${name}\` is ${dtypeOfTensorflow(type) ?? tensorflowTypeName(type)}, the signature says ${dtype}`,
    )
  const rank = tf.tensorRank(tensor)
  const shape = new Array<number>(rank)
  let elements = 1
  for (let d = 0; d < rank; d++) elements *= shape[d] = Number(tf.tensorDim(tensor, d))
  if (dtype === 'string') return { dtype, shape, data: readStrings(tf, tensor, elements) }
  const fits = before !== null && before.length === elements
  const data = fits ? (before as DenseArray) : denseArray(dtype, elements)
  if (elements > 0) tf.copy(data, tf.tensorData(tensor), data.byteLength)
  return { dtype, shape, data }
}

function readStrings(tf: Libtensorflow, tensor: Pointer, length: number): Strings {
  if (length === 0) return Strings.of([])
  const elements = Buffer.alloc(length * stringBytes)
  const base = tf.tensorData(tensor)
  tf.copy(elements, base, elements.length)
  const texts: Uint8Array[] = []
  for (let at = 0; at < elements.length; at += stringBytes) {
    const first = elements[at]!
    if ((first & 3) === kind.small) {
      texts.push(elements.subarray(at + 1, at + 1 + (first >> 2)))
      continue
    }
    const offset = (first & 3) === kind.offset
    const text = Buffer.allocUnsafe(
      offset ? elements.readUInt32LE(at) >>> 2 : Number(elements.readBigUInt64LE(at) >> 2n),
    )
    const address = offset
      ? base + BigInt(at + elements.readUInt32LE(at + 4))
      : elements.readBigUInt64LE(at + ((first & 3) === kind.view ? 8 : 16))
    if (text.length > 0) tf.copy(text, address, text.length)
    texts.push(text)
  }
  return Strings.of(texts)
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return a.length === b.length
}
