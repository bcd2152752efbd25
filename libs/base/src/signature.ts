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

/** Of an attribute of the context: text, a number (f64), true or false. */
export type AttributeKind = 'text' | 'number' | 'truth'
export type AttributeValue = string | number | boolean
/** Attributes of a request by name. */
export type Context = Readonly<Record<string, AttributeValue>>

/** An attribute of the context that a workflow reads, as the column per request that it reads it in. */
export interface AttributeSpec extends ColumnSpec {
  readonly kind: AttributeKind
  /** What stands for it in a request that does not have it; null: such a request is refused. */
  readonly missing: AttributeValue | null
}

const attributeDTypes = { text: 'string', number: 'f64', truth: 'bool' } as const

export function attributeSpec(name: string, kind: AttributeKind, missing: AttributeValue | null): AttributeSpec {
  const ragged = kind === 'text'
  return { name, dtype: attributeDTypes[kind], per: 'request', shape: [], ragged, kind, missing }
}

export function kindOf(value: AttributeValue): AttributeKind {
  return typeof value === 'string' ? 'text' : typeof value === 'number' ? 'number' : 'truth'
}

/** Why a request is refused that does not have an attribute as a workflow reads it; `came`: the kind that it came as. */
export function attributeFault({ name, kind }: AttributeSpec, came: AttributeKind | null): string {
  return came === null
    ? `context.${name}: is missing; the workflow reads it as ${kind} and has nothing in its place`
    : `context.${name}: came as ${came}; the workflow reads it as ${kind}`
}

/** What goes in and out of a workflow version. Plain data: it crosses threads by structured clone. */
export interface Signature {
  readonly inputs: readonly ColumnSpec[]
  readonly outputs: readonly ColumnSpec[]
  /** Attributes of the context that it reads; left out: none. */
  readonly context?: readonly AttributeSpec[]
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
