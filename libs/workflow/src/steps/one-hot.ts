import type { Lists } from '../lists'
import type { Numbers } from './normalise'

/** A call of `fill` costs as much as some fifty elements. */
function clear(into: Float32Array, at: number, width: number): void {
  if (width > 64) into.fill(0, at, at + width)
  else for (let j = at; j < at + width; j++) into[j] = 0
}

/** 1 at column `indices[i]` of each row, 0 in the other `width - 1`; a row of zeros for an index that is not in `[0, width)`. */
export function oneHot(indices: Numbers, width: number, into: Float32Array, stride: number = width, offset = 0): void {
  for (let i = 0, at = offset; i < indices.length; i++, at += stride) {
    clear(into, at, width)
    const index = indices[i]!
    if (index >= 0 && index < width) into[at + index] = 1
  }
}

/** 1 at each of a row's indices, 0 elsewhere; indices that are not in `[0, width)` are left out. */
export function multiHot(
  lists: Lists<'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32'>,
  width: number,
  into: Float32Array,
  stride: number = width,
  offset = 0,
): void {
  for (let i = 0, at = offset; i < lists.length; i++, at += stride) {
    clear(into, at, width)
    const indices = lists.at(i)
    for (let j = 0; j < indices.length; j++) {
      const index = indices[j]!
      if (index >= 0 && index < width) into[at + index] = 1
    }
  }
}
