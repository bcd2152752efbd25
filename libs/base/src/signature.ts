import { DType, dtypeBytes, isRaggedDType, type DTypeName } from './dtype'

/**
 * One declared column of a workflow: `inputs` come with a request, `outputs` go with its reply.
 *
 * - `per: 'row'`: one value for each row. `per: 'request'`: one value for the whole request.
 * - `shape` is the shape of *one* row, without the row dimension: `[]` a scalar, `[64]` a vector of 64.
 * - `ragged`: every row has its own number of elements (always true for `string` and `bytes`, whose
 *   elements are bytes; `shape` is then `[]`).
 */
export interface ColumnSpec {
  readonly name: string
  readonly dtype: DTypeName
  readonly per: 'row' | 'request'
  readonly shape: readonly number[]
  readonly ragged: boolean
}

/** Input columns that a request, and so a signature, may have. */
export const columnsMax = 64

/** Context attributes that one request may carry. */
export const contextMax = 64

/** What goes in and out of a workflow version. Plain data: it crosses threads by structured clone. */
export interface Signature {
  readonly inputs: readonly ColumnSpec[]
  readonly outputs: readonly ColumnSpec[]
}

/** Elements of one row of a dense column. */
export function elementsPerRow(column: ColumnSpec): number {
  return column.shape.reduce((product, n) => product * n, 1)
}

/** Bytes of one row of a dense column, without padding. */
export function bytesPerRow(column: ColumnSpec): number {
  return elementsPerRow(column) * dtypeBytes[DType[column.dtype]]!
}

/** `f32[64]`, `string`, `i32[*] per request`: how a column is named in messages. */
export function describeColumn(column: ColumnSpec): string {
  const shape =
    column.ragged && !isRaggedDType(column.dtype) ? '[*]' : column.shape.length > 0 ? `[${column.shape.join(',')}]` : ''
  return `${column.dtype}${shape}${column.per === 'request' ? ' per request' : ''}`
}
