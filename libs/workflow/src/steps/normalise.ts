/** Numbers of a column: everything but 64-bit integers. */
export type Numbers =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array

/*
 * Every step reads whole columns and writes into a row-major matrix: element `j` of row `i` goes to
 * `into[i * stride + offset + j]`. `stride` is the matrix's row width, `offset` the first column of this step's output,
 * so that steps fill one model input side by side without a copy in between.
 */

/**
 * `(x - mean) / deviation` of a column of `mean.length` features a row. NaN stays NaN.
 *
 * @param mean one for each feature, as is `deviation`; a deviation of 0 counts as 1 (a constant feature becomes 0)
 */
export function normalise(
  values: Numbers,
  mean: ArrayLike<number>,
  deviation: ArrayLike<number>,
  into: Float32Array,
  stride: number = mean.length,
  offset = 0,
): void {
  const width = mean.length
  const rows = values.length / width
  for (let j = 0; j < width; j++) {
    const shift = mean[j]!
    const scale = deviation[j]! === 0 ? 1 : 1 / deviation[j]!
    let at = offset + j
    for (let i = 0, from = j; i < rows; i++, from += width, at += stride) into[at] = (values[from]! - shift) * scale
  }
}

/** `x / |x|` for each row of `width`, in place; a row of zeros stays so. */
export function unitLength(rows: Float32Array, width: number): void {
  for (let begin = 0; begin < rows.length; begin += width) {
    let sum = 0
    for (let j = begin; j < begin + width; j++) sum += rows[j]! * rows[j]!
    if (sum === 0) continue
    const scale = 1 / Math.sqrt(sum)
    for (let j = begin; j < begin + width; j++) rows[j]! *= scale
  }
}
