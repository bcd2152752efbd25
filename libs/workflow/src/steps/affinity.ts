import type { Numbers } from './normalise'

/**
 * How much each row's request cares for the row's category: `perRequest[requestOf[i]][categories[i]]`, the dot of a
 * request's vector of `width` with the row's one-hot. 0 for a category that is not in `[0, width)`.
 */
export function affinity(
  perRequest: Numbers,
  width: number,
  requestOf: Uint32Array,
  categories: Numbers,
  into: Float32Array,
  stride = 1,
  offset = 0,
): void {
  for (let i = 0, at = offset; i < requestOf.length; i++, at += stride) {
    const category = categories[i]!
    into[at] = category >= 0 && category < width ? perRequest[requestOf[i]! * width + category]! : 0
  }
}

/** The dot of each row's vector of `width` with its request's. Summed in order, in double precision. */
export function dot(
  perRequest: Numbers,
  perRow: Numbers,
  width: number,
  requestOf: Uint32Array,
  into: Float32Array,
  stride = 1,
  offset = 0,
): void {
  for (let i = 0, at = offset; i < requestOf.length; i++, at += stride) {
    const left = requestOf[i]! * width
    const right = i * width
    let sum = 0
    for (let j = 0; j < width; j++) sum += perRequest[left + j]! * perRow[right + j]!
    into[at] = sum
  }
}
