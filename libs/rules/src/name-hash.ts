/**
 * A hash of a text by its length, its first and its last word: enough to tell the few attributes of a rules file apart,
 * and a third of what hashing all of it costs. The text is as `murmur3Words` takes it.
 *
 * @returns a signed 32-bit integer
 */
export function nameHash(words: Uint32Array, byteBegin: number, byteLength: number): number {
  const first = firstWord(words, byteBegin, byteLength)
  const tail = byteLength & 3
  const last = byteLength <= 4 ? 0 : maskedWord(words, (byteBegin + byteLength - 1) >>> 2, tail)
  const h = Math.imul(first ^ byteLength, 0xcc9e2d51) ^ Math.imul(last, 0x1b873593)
  return h ^ (h >>> 15)
}

/** The first four bytes of a text, or as many as it has; a signed integer. */
export function firstWord(words: Uint32Array, byteBegin: number, byteLength: number): number {
  if (byteLength === 0) return 0
  return byteLength >= 4 ? words[byteBegin >>> 2]! | 0 : maskedWord(words, byteBegin >>> 2, byteLength)
}

/** What follows a text in its last word does not count. */
function maskedWord(words: Uint32Array, at: number, tail: number): number {
  return tail === 0 ? words[at]! | 0 : words[at]! & ((1 << (8 * tail)) - 1)
}
