import { dtypeBytes, denseView, DType, type DenseArrays, type DenseDType, type Strings } from '@millrace/base'

/** A ragged input column of numbers: every row has its own number of elements. Read only; valid while the batch runs. */
export class Lists<D extends DenseDType = DenseDType> {
  /** Rows (or requests, for a column per request). */
  readonly length: number
  private readonly elementBytes: number

  constructor(
    readonly dtype: D,
    /** The same column as bytes. */
    readonly bytes: Strings,
  ) {
    this.length = bytes.length
    this.elementBytes = dtypeBytes[DType[dtype]]!
  }

  /** Elements of row `i`. */
  size(i: number): number {
    return this.bytes.spans[2 * i + 1]! / this.elementBytes
  }

  /** Row `i`: a view into the batch where its bytes are aligned, else a copy. */
  at(i: number): DenseArrays[D] {
    const heap = this.bytes.heap
    const begin = this.bytes.spans[2 * i]!
    const byteLength = this.bytes.spans[2 * i + 1]!
    const size = byteLength / this.elementBytes
    const at = heap.byteOffset + begin
    if (at % this.elementBytes === 0) return denseView(this.dtype, heap.buffer, at, size)
    return denseView(this.dtype, Uint8Array.prototype.slice.call(heap, begin, begin + byteLength).buffer, 0, size)
  }
}
