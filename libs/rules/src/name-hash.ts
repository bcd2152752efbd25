/*
 * A text by its length, its first and its last word. That is all of one of eight bytes or less, and tells the few
 * attributes of a rules file apart for a third of what hashing a text costs. Texts are as `murmur3Words` takes them.
 */

/** Bytes of a text that its first and its last word are all of. */
export const wholeBytes = 8

/** A signed 32-bit integer. */
export function nameHash(byteLength: number, first: number, last: number): number {
  const h = Math.imul(first ^ byteLength, 0xcc9e2d51) ^ Math.imul(last, 0x1b873593)
  return h ^ (h >>> 15)
}

/** The first four bytes of a text, or as many as it has; a signed integer. */
export function firstWord(words: Uint32Array, byteBegin: number, byteLength: number): number {
  if (byteLength === 0) return 0
  return byteLength >= 4 ? words[byteBegin >>> 2]! | 0 : maskedWord(words, byteBegin >>> 2, byteLength)
}

/** The last word of a text that has more than one, else 0; a signed integer. */
export function lastWord(words: Uint32Array, byteBegin: number, byteLength: number): number {
  return byteLength <= 4 ? 0 : maskedWord(words, (byteBegin + byteLength - 1) >>> 2, byteLength & 3)
}

/** What follows a text in its last word does not count. */
function maskedWord(words: Uint32Array, at: number, tail: number): number {
  return tail === 0 ? words[at]! | 0 : words[at]! & ((1 << (8 * tail)) - 1)
}
