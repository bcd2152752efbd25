import type { TensorDType } from './engine'

/** TensorFlow's number of each dtype that tensors of a model may have. */
export const tensorflowTypes: Readonly<Record<TensorDType, number>> = {
  f32: 1,
  f64: 2,
  i32: 3,
  u8: 4,
  i16: 5,
  i8: 6,
  string: 7,
  i64: 9,
  bool: 10,
  u16: 17,
  u32: 22,
  u64: 23,
}

const others: Readonly<Record<number, string>> = {
  8: 'complex64',
  14: 'bfloat16',
  19: 'float16',
  20: 'a resource',
  21: 'a variant',
}
const dtypes = new Map(Object.entries(tensorflowTypes).map(([dtype, type]) => [type, dtype as TensorDType]))

/** Our dtype; null where there is none. */
export function dtypeOfTensorflow(type: number): TensorDType | null {
  return dtypes.get(type) ?? null
}

/** How a type without a dtype is named in messages. */
export function tensorflowTypeName(type: number): string {
  return others[type] ?? `of TensorFlow's type ${type}`
}
