import type { Numbers } from './normalise'

/** `log(1 + x)` of a scalar column; for amounts over many orders of magnitude. Below -1: NaN. */
export function log1p(values: Numbers, into: Float32Array, stride = 1, offset = 0): void {
  for (let i = 0, at = offset; i < values.length; i++, at += stride) into[at] = Math.log1p(values[i]!)
}
