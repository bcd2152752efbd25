import type { Strings } from '@millrace/base'

/**
 * A fixed list of words and their indexes, looked up by their bytes: no string is made. Built once, when the workflow
 * file is loaded. Open addressing, at most half full.
 */
export class Vocabulary {
  readonly size: number
  private readonly mask: number
  /** By slot: index + 1 of the word, 0 when empty. */
  private readonly slots: Int32Array
  private readonly words: readonly Buffer[]

  /** Word `i` has index `i`. Throws on a word that is there twice. */
  constructor(words: readonly string[]) {
    this.size = words.length
    this.words = words.map((word) => Buffer.from(word, 'utf8'))
    this.mask = 2 ** Math.ceil(Math.log2(Math.max(2, words.length * 2))) - 1
    this.slots = new Int32Array(this.mask + 1)
    this.words.forEach((word, index) => {
      const slot = this.slotOf(word, 0, word.length)
      if (this.slots[slot] !== 0) throw new Error(`vocabulary has '${words[index]!}' twice`)
      this.slots[slot] = index + 1
    })
  }

  /** The index of `length` bytes at `begin`, or -1. */
  find(bytes: Uint8Array, begin: number, length: number): number {
    return this.slots[this.slotOf(bytes, begin, length)]! - 1
  }

  /** The index of a word, or -1. */
  indexOf(word: string): number {
    const bytes = Buffer.from(word, 'utf8')
    return this.find(bytes, 0, bytes.length)
  }

  /** The slot that holds these bytes, or the empty one where they would go. */
  private slotOf(bytes: Uint8Array, begin: number, length: number): number {
    let slot = hashOf(bytes, begin, length) & this.mask
    for (;;) {
      const index = this.slots[slot]! - 1
      if (index < 0 || sameBytes(this.words[index]!, bytes, begin, length)) return slot
      slot = (slot + 1) & this.mask
    }
  }
}

/** The vocabulary index of each value; `unknown` for words it does not have. */
export function lookUp(
  values: Strings,
  vocabulary: Vocabulary,
  into: Int32Array | Float32Array,
  unknown = -1,
  stride = 1,
  offset = 0,
): void {
  const { spans, heap } = values
  for (let i = 0, at = offset; i < values.length; i++, at += stride) {
    const index = vocabulary.find(heap, spans[2 * i]!, spans[2 * i + 1]!)
    into[at] = index < 0 ? unknown : index
  }
}

/** Of the length and of four bytes each of the begin, the middle and the end: as much as tells words apart, at one cost for all. */
function hashOf(bytes: Uint8Array, begin: number, length: number): number {
  let h = length
  if (length < 4) for (let i = begin; i < begin + length; i++) h = (h << 8) | bytes[i]!
  else {
    h = Math.imul(h ^ wordAt(bytes, begin), 0xcc9e2d51)
    h = Math.imul((h ^ (h >>> 15)) + wordAt(bytes, begin + (length >>> 1) - 2), 0x1b873593)
    h = (h ^ (h >>> 13)) + wordAt(bytes, begin + length - 4)
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  return h ^ (h >>> 13)
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

function sameBytes(word: Buffer, bytes: Uint8Array, begin: number, length: number): boolean {
  if (word.length !== length) return false
  for (let i = 0; i < length; i++) if (word[i] !== bytes[begin + i]) return false
  return true
}
