import type { Numbers } from './normalise'

/** A column of `width` numbers a row, copied to columns `offset .. offset + width - 1` of the matrix. */
export function concat(values: Numbers, width: number, into: Float32Array, stride: number, offset: number): void {
  const rows = values.length / width
  for (let i = 0, from = 0; i < rows; i++) {
    const at = i * stride + offset
    for (let j = 0; j < width; j++) into[at + j] = values[from++]!
  }
}

/** The same for a column per request: each row gets its request's values. */
export function spread(
  values: Numbers,
  width: number,
  requestOf: Uint32Array,
  into: Float32Array,
  stride: number = width,
  offset = 0,
): void {
  for (let i = 0; i < requestOf.length; i++) {
    const from = requestOf[i]! * width
    const at = i * stride + offset
    for (let j = 0; j < width; j++) into[at + j] = values[from + j]!
  }
}
