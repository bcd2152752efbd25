/**
 * `murmur3` of @millrace/base over bytes that lie in little-endian words: a message's strings begin at
 * multiples of four, so a word is read at once. `byteBegin` is a multiple of 4.
 *
 * @returns an unsigned 32-bit integer
 */
export function murmur3Words(words: Uint32Array, byteBegin: number, byteLength: number, seed: number): number {
  let h = seed | 0
  let at = byteBegin >>> 2
  const end = at + (byteLength >>> 2)
  for (; at < end; at++) {
    let k = Math.imul(words[at]!, 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  const tail = byteLength & 3
  if (tail > 0) {
    let k = Math.imul(words[end]! & ((1 << (tail * 8)) - 1), 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
  }
  h ^= byteLength
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  h ^= h >>> 16
  return h >>> 0
}
