/** A scalar column with `replacement` where it is NaN. */
export function impute(
  values: Float32Array | Float64Array,
  replacement: number,
  into: Float32Array,
  stride = 1,
  offset = 0,
): void {
  for (let i = 0, at = offset; i < values.length; i++, at += stride) {
    const value = values[i]!
    into[at] = Number.isNaN(value) ? replacement : value
  }
}

/** 1 where a scalar column is NaN, else 0: tells the model what was imputed. */
export function missing(values: Float32Array | Float64Array, into: Float32Array, stride = 1, offset = 0): void {
  for (let i = 0, at = offset; i < values.length; i++, at += stride) into[at] = Number.isNaN(values[i]!) ? 1 : 0
}
