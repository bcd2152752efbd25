/**
 * Element types of columns and tensors. The numbers are the wire's (`libs/wire/schema/column.fbs`)
 * and never change their meaning.
 *
 * `string` and `bytes` are ragged by nature: every row has its own number of bytes.
 */
export const DType = {
  f32: 1,
  f64: 2,
  i8: 3,
  u8: 4,
  i16: 5,
  u16: 6,
  i32: 7,
  u32: 8,
  i64: 9,
  u64: 10,
  bool: 11,
  string: 12,
  bytes: 13,
} as const

export type DTypeName = keyof typeof DType
export type DTypeCode = (typeof DType)[DTypeName]

/** Bytes of one element by dtype code; 1 for `string` and `bytes`, whose elements are bytes. Index 0 is unused. */
export const dtypeBytes: readonly number[] = [0, 4, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1, 1, 1]

/** Names by dtype code. Index 0 is `none`. */
export const dtypeNames: readonly (DTypeName | 'none')[] = [
  'none',
  'f32',
  'f64',
  'i8',
  'u8',
  'i16',
  'u16',
  'i32',
  'u32',
  'i64',
  'u64',
  'bool',
  'string',
  'bytes',
]

/** The array that holds a dense column of each dtype; `bool` is one byte, 0 or 1. */
export interface DenseArrays {
  f32: Float32Array
  f64: Float64Array
  i8: Int8Array
  u8: Uint8Array
  i16: Int16Array
  u16: Uint16Array
  i32: Int32Array
  u32: Uint32Array
  i64: BigInt64Array
  u64: BigUint64Array
  bool: Uint8Array
}
export type DenseDType = keyof DenseArrays
export type DenseArray = DenseArrays[DenseDType]

export function isRaggedDType(dtype: DTypeName): dtype is 'string' | 'bytes' {
  return dtype === 'string' || dtype === 'bytes'
}

/** A view of `length` elements of `dtype` at `byteOffset`, which must be a multiple of the element's size. */
export function denseView<D extends DenseDType>(
  dtype: D,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): DenseArrays[D] {
  return new constructors[dtype](buffer as ArrayBuffer, byteOffset, length) as DenseArrays[D]
}

/** A fresh zeroed array of `length` elements of `dtype`. */
export function denseArray<D extends DenseDType>(dtype: D, length: number): DenseArrays[D] {
  return new constructors[dtype](length) as DenseArrays[D]
}

const constructors = {
  f32: Float32Array,
  f64: Float64Array,
  i8: Int8Array,
  u8: Uint8Array,
  i16: Int16Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  bool: Uint8Array,
} as const
