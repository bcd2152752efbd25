import type { Numbers } from './normalise'

/**
 * Row `indices[i]` of a `[entries, width]` table into row `i`; zeros for an index that the table does not have.
 */
export function embed(
  indices: Numbers,
  table: Float32Array,
  width: number,
  into: Float32Array,
  stride: number = width,
  offset = 0,
): void {
  const entries = table.length / width
  for (let i = 0, at = offset; i < indices.length; i++, at += stride) {
    const index = indices[i]!
    const from = index >= 0 && index < entries ? index * width : -1
    for (let j = 0; j < width; j++) into[at + j] = from < 0 ? 0 : table[from + j]!
  }
}
