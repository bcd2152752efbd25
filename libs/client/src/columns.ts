import {
  DType,
  denseArray,
  denseView,
  dtypeBytes,
  isRaggedDType,
  Strings,
  type DenseArray,
  type DenseDType,
  type DTypeName,
} from '@millrace/base'
import { denseColumn, raggedColumn, type WireColumn } from '@millrace/wire'

/** Values with their dtype said, for dtypes that no typed array stands for, and shapes. */
export interface TypedColumn {
  readonly dtype: DTypeName
  /** Dense: rows end to end. `string`, `bytes`: one for each row. */
  readonly values: DenseArray | readonly (number | bigint | boolean)[] | readonly (string | Uint8Array)[]
  /** Shape of one row; `[]` when left out. */
  readonly shape?: readonly number[]
}

/**
 * The values of one input column:
 *
 * | value | column |
 * |---|---|
 * | `'a'`, `['a', 'b']` | string: one row (of a column per request), or one for each row |
 * | typed array | dense, its dtype by its type (Uint8Array is u8); rows end to end |
 * | list of typed arrays | ragged: each row has its own length |
 * | list of Buffers | bytes |
 * | `{ dtype, values, shape }` | as it says |
 */
export type InputValue =
  | string
  | readonly string[]
  | DenseArray
  | readonly DenseArray[]
  | readonly Buffer[]
  | TypedColumn

/** The values of one output column: dense rows end to end, or one for each row. */
export type OutputValue = DenseArray | readonly string[] | readonly Uint8Array[]

/** Throws a TypeError that names the column when a value is none of the above. */
export function toColumn(name: string, value: InputValue): WireColumn {
  if (typeof value === 'string') return raggedColumn(name, 'string', Strings.of([value]))
  if (ArrayBuffer.isView(value)) return denseColumn(name, dtypeOf(name, value), value)
  if (!Array.isArray(value)) return typedColumn(name, value as TypedColumn)
  const rows = value as readonly unknown[]
  if (rows.every((row) => typeof row === 'string')) return raggedColumn(name, 'string', Strings.of(rows as string[]))
  if (rows.every((row) => Buffer.isBuffer(row))) return raggedColumn(name, 'bytes', Strings.of(rows as Buffer[]))
  if (rows.every((row) => ArrayBuffer.isView(row))) {
    const dtypes = new Set((rows as DenseArray[]).map((row) => dtypeOf(name, row)))
    if (dtypes.size === 1) return raggedColumn(name, [...dtypes][0]!, Strings.of((rows as DenseArray[]).map(bytesOf)))
  }
  throw new TypeError(
    `inputs.${name}: a list holds strings, Buffers or typed arrays of one type; ` +
      `for numbers use a typed array, such as Float32Array.of(...), or { dtype, values }`,
  )
}

/** Copies a reply's column out as values. */
export function fromColumn({ dtype, data, offsets }: WireColumn): OutputValue {
  if (!isRaggedDType(dtype)) {
    const bytes = new Uint8Array(data)
    return denseView(dtype, bytes.buffer, 0, bytes.length / dtypeBytes[DType[dtype]]!)
  }
  const rows = Array.from({ length: (offsets?.length ?? 1) - 1 }, (_, i) =>
    data.subarray(offsets![i]!, offsets![i + 1]!),
  )
  return dtype === 'string' ? rows.map((row) => Buffer.from(row).toString('utf8')) : rows
}

function typedColumn(name: string, column: TypedColumn): WireColumn {
  const at = `inputs.${name}`
  if (typeof column !== 'object' || column === null)
    throw new TypeError(`${at}: ${String(column)} is no column; use a typed array, strings or { dtype, values }`)
  const { dtype, values, shape = [] } = column
  if (!Object.hasOwn(DType, dtype)) throw new TypeError(`${at}: there is no dtype '${String(dtype)}'`)
  if (!Array.isArray(values) && !ArrayBuffer.isView(values))
    throw new TypeError(`${at}: its values are neither a list nor a typed array`)
  if (isRaggedDType(dtype)) {
    const rows: readonly unknown[] = Array.isArray(values) ? values : []
    if (ArrayBuffer.isView(values) || !rows.every((row) => typeof row === 'string' || row instanceof Uint8Array))
      throw new TypeError(`${at}: values of ${dtype} are strings or Uint8Arrays, one for each row`)
    return raggedColumn(name, dtype, Strings.of(rows as readonly (string | Uint8Array)[]))
  }
  const dense = ArrayBuffer.isView(values) ? checkedArray(name, dtype, values) : arrayOf(name, dtype, values)
  const width = shape.reduce((product, n) => product * n, 1)
  if (dense.length % width !== 0)
    throw new TypeError(`${at}: ${dense.length} values are no whole rows of shape [${shape.join(',')}]`)
  return denseColumn(name, dtype, dense, shape)
}

/** The bytes are sent as they are, so they must be what the dtype says. */
function checkedArray(name: string, dtype: DenseDType, values: DenseArray): DenseArray {
  if (dtypeOf(name, values) !== (dtype === 'bool' ? 'u8' : dtype))
    throw new TypeError(`inputs.${name}: a ${values.constructor.name} holds no ${dtype}`)
  return values
}

function arrayOf(name: string, dtype: DenseDType, values: readonly unknown[]): DenseArray {
  const dense = denseArray(dtype, values.length)
  for (let i = 0; i < values.length; i++) dense[i] = numberOf(name, dtype, values[i]) as never
  return dense
}

function numberOf(name: string, dtype: DenseDType, value: unknown): number | bigint {
  const wide = dtype === 'i64' || dtype === 'u64'
  if (typeof value === 'bigint' || typeof value === 'boolean' || (typeof value === 'number' && !wide))
    return wide ? BigInt(value) : Number(value)
  if (wide && Number.isInteger(value)) return BigInt(value as number)
  throw new TypeError(`inputs.${name}: ${String(value)} is no ${dtype}`)
}

const dtypes: Readonly<Record<string, DenseDType>> = {
  Float32Array: 'f32',
  Float64Array: 'f64',
  Int8Array: 'i8',
  Uint8Array: 'u8',
  Buffer: 'u8',
  Int16Array: 'i16',
  Uint16Array: 'u16',
  Int32Array: 'i32',
  Uint32Array: 'u32',
  BigInt64Array: 'i64',
  BigUint64Array: 'u64',
}

function dtypeOf(name: string, values: ArrayBufferView): DenseDType {
  const dtype = dtypes[values.constructor.name]
  if (dtype === undefined) throw new TypeError(`inputs.${name}: a ${values.constructor.name} is no column`)
  return dtype
}

function bytesOf(values: DenseArray): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}
