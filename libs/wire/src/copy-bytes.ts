import type { RequestView } from './request-view'

/** Small whole words by a loop, all else by one memcpy: at 512 bytes both cost the same, but a view is garbage. */
export function copyBytes(
  view: RequestView,
  from: number,
  length: number,
  memory: Uint8Array,
  memoryWords: Uint32Array,
  to: number,
): void {
  if (length <= 512 && ((from | length | to) & 3) === 0) {
    const source = from >>> 2
    const target = to >>> 2
    const n = length >>> 2
    for (let w = 0; w < n; w++) memoryWords[target + w] = view.words[source + w]!
  } else if (length > 0) memory.set(new Uint8Array(view.buffer as ArrayBuffer, view.base + from, length), to)
}
