import { Code, denseArray, Refusal, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import { planRecord, type RecordPlan } from './record'
import type { FactField, FactRows, FactTable } from './store'

/**
 * Turns records into columns, row by row, without an object per row. Both hosts that run this and the record's
 * format are little endian, so that dense fields are copied as bytes.
 */
export class ColumnsBuilder {
  readonly found: Uint8Array
  private readonly columns: DenseArray[]
  /** The memory of `columns`. */
  private readonly bytes: Uint8Array[]
  private readonly spans: Uint32Array[]
  private heap: Buffer
  private heapUsed = 0

  constructor(
    private readonly plan: RecordPlan,
    private readonly rows: number,
    /** Expected bytes of all text of one row; saves growing. */
    textBytesPerRow: number,
  ) {
    this.found = new Uint8Array(rows)
    this.columns = plan.dense.map(({ field }) => denseArray(field.dtype as DenseDType, rows * elements(field.shape)))
    this.bytes = this.columns.map((column) => new Uint8Array(column.buffer))
    this.spans = plan.text.map(() => new Uint32Array(2 * rows))
    this.heap =
      plan.text.length === 0 ? Buffer.alloc(0) : Buffer.allocUnsafeSlow(Math.ceil(rows * textBytesPerRow) + 64)
  }

  /** Row `row` is the first `length` bytes of `record`. */
  put(row: number, record: Uint8Array, length: number): void {
    const { table, dense, denseBytes } = this.plan
    if (length < denseBytes) damaged(table)
    this.found[row] = 1
    for (let f = 0; f < dense.length; f++) {
      const { offset, bytes } = dense[f]!
      copyBytes(record, offset, this.bytes[f]!, row * bytes, bytes)
    }
    let at = denseBytes
    for (let f = 0; f < this.spans.length; f++) {
      const textBytes = textLength(table, record, at, length)
      at += 4
      this.reserve(textBytes)
      copyBytes(record, at, this.heap, this.heapUsed, textBytes)
      this.spans[f]![2 * row] = this.heapUsed
      this.spans[f]![2 * row + 1] = textBytes
      this.heapUsed += textBytes
      at += textBytes
    }
  }

  finish(): FactRows {
    const { plan, rows, found } = this
    const columns: Record<string, DenseArray | Strings> = {}
    plan.dense.forEach(({ field }, f) => (columns[field.name] = this.columns[f]!))
    plan.text.forEach((field, f) => (columns[field.name] = new Strings(this.spans[f]!, this.heap, rows)))
    return { rows, found, column: (name) => columns[name] ?? noField(plan.table, name) }
  }

  private reserve(bytes: number): void {
    if (this.heapUsed + bytes <= this.heap.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.heap.length, this.heapUsed + bytes))
    this.heap.copy(larger, 0, 0, this.heapUsed)
    this.heap = larger
  }
}

/** What a read of keys that are all not there finds. */
export function rowsNotFound(fields: readonly FactField[], rows: number): FactRows {
  return new ColumnsBuilder(planRecord({ name: '', key: 'string', fields }), rows, 0).finish()
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1)
}

/** Bytes of the text field whose length is at `at` of a record of `length` bytes. */
export function textLength(table: FactTable, record: Uint8Array, at: number, length: number): number {
  const bytes = (record[at]! | (record[at + 1]! << 8) | (record[at + 2]! << 16) | (record[at + 3]! << 24)) >>> 0
  if (at + 4 > length || at + 4 + bytes > length) damaged(table)
  return bytes
}

export function noField(table: FactTable, name: string): never {
  throw new RangeError(`fact table \`${table.name}\` has no field \`${name}\``)
}

export function damaged(table: FactTable): never {
  throw new Refusal(
    Code.DATA_LOSS,
    `fact table \`${table.name}\` has a damaged record: write the table again with its feed`,
  )
}

/** Most fields are a few bytes, for which a loop beats a call that makes a view. */
export function copyBytes(from: Uint8Array, begin: number, to: Uint8Array, at: number, bytes: number): void {
  if (bytes > 64) {
    to.set(from.subarray(begin, begin + bytes), at)
    return
  }
  for (let i = 0; i < bytes; i++) to[at + i] = from[begin + i]!
}
