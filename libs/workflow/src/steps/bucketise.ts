import type { Numbers } from './normalise'

/**
 * The bucket of each value of a scalar column: how many of the ascending `boundaries` are <= the value, from 0 to
 * `boundaries.length`. NaN goes to bucket 0; impute first where that is wrong.
 */
export function bucketise(
  values: Numbers,
  boundaries: ArrayLike<number>,
  into: Int32Array | Float32Array,
  stride = 1,
  offset = 0,
): void {
  for (let i = 0, at = offset; i < values.length; i++, at += stride) {
    const value = values[i]!
    let lo = 0
    let hi = boundaries.length
    while (lo < hi) {
      const middle = (lo + hi) >> 1
      if (boundaries[middle]! <= value) lo = middle + 1
      else hi = middle
    }
    into[at] = lo
  }
}
