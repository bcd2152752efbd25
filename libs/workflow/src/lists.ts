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

  /** Elements of row `i`. Throws RangeError for a row that is not there. */
  size(i: number): number {
    return this.bytes.bytes(i).length / this.elementBytes
  }

  /** Row `i`: a view into the batch where its bytes are aligned, else a copy. Throws RangeError for a row that is not there. */
  at(i: number): DenseArrays[D] {
    const bytes = this.bytes.bytes(i)
    const size = bytes.length / this.elementBytes
    if (bytes.byteOffset % this.elementBytes === 0) return denseView(this.dtype, bytes.buffer, bytes.byteOffset, size)
    return denseView(this.dtype, Uint8Array.prototype.slice.call(bytes).buffer, 0, size)
  }
}
