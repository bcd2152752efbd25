import type { AttributeKind } from '@millrace/base'
import { murmur3Words } from './murmur3-words'
import { firstWord, lastWord, nameHash } from './name-hash'
import { fewTexts, Op, textSeed } from './program'

const encoder = new TextEncoder()
/** As attributes say them on the wire. */
const wireKinds = { text: 0, number: 1, truth: 2 } as const

/** What conditions need beside the records: literals, sets, numbers and attributes, each written once. */
export class Pool {
  readonly numbers: number[] = []
  /** Kinds by slot. */
  readonly kinds: AttributeKind[] = []
  private readonly slots = new Map<string, number>()
  private readonly literals = new Map<string, number>()

  constructor(
    private readonly program: number[],
    private readonly declared: Readonly<Record<string, AttributeKind>>,
  ) {}

  /** The slot that an attribute is bound to while a request is looked up. */
  slot(attribute: string): number {
    let slot = this.slots.get(attribute)
    if (slot === undefined) {
      slot = this.kinds.push(this.declared[attribute]!) - 1
      this.slots.set(attribute, slot)
    }
    return slot
  }

  /** Where the text lies in the program. */
  literal(text: string): number {
    const known = this.literals.get(text)
    if (known !== undefined) return known
    const { words, bytes } = wordsOf(text)
    const at = this.program.push(bytes, ...words) - 1 - words.length
    this.literals.set(text, at)
    return at
  }

  /** A test for one of these texts, and where they lie. */
  among(all: readonly string[]): [op: number, at: number] {
    const texts = [...new Set(all)]
    return texts.length <= fewTexts
      ? [Op.TEXT_IN, this.list(texts)]
      : [Op.TEXT_IN_MANY, this.hashed(texts, murmurOfText, 2, () => [])]
  }

  /** The attributes by name, or 0 when no condition asks for one. */
  attributes(): number {
    return this.slots.size === 0
      ? 0
      : this.hashed([...this.slots.keys()], hashOfName, 7, (name) => {
          const slot = this.slots.get(name)!
          const { words, bytes } = wordsOf(name)
          return [slot, wireKinds[this.kinds[slot]!], bytes, firstWord(words, 0, bytes), lastWord(words, 0, bytes)]
        })
  }

  private list(texts: readonly string[]): number {
    const entries = texts.flatMap((text) => {
      const { words, bytes } = wordsOf(text)
      return [bytes, firstWord(words, 0, bytes), this.literal(text)]
    })
    // Literals first: they go to the program's end too.
    return this.program.push(texts.length, ...entries) - 1 - entries.length
  }

  /** Open addressing by hash, at most half full. */
  private hashed(
    texts: readonly string[],
    hashOf: (words: Uint32Array, begin: number, bytes: number) => number,
    width: number,
    more: (text: string) => number[],
  ): number {
    const capacity = 2 ** Math.ceil(Math.log2(texts.length * 2 + 1))
    const entries = new Array<number>(capacity * width).fill(0)
    for (const text of texts) {
      const { words, bytes } = wordsOf(text)
      const hash = hashOf(words, 0, bytes)
      let at = hash & (capacity - 1)
      while (entries[at * width + 1] !== 0) at = (at + 1) & (capacity - 1)
      const entry = [hash, this.literal(text), ...more(text)]
      entry.forEach((value, i) => (entries[at * width + i] = value))
    }
    // Literals first: they go to the program's end too.
    return this.program.push(capacity - 1, ...entries) - 1 - entries.length
  }
}

/** UTF-8 in little-endian words, the last one filled with zeros. */
function wordsOf(text: string): { words: Uint32Array; bytes: number } {
  const encoded = encoder.encode(text)
  const padded = new Uint8Array((encoded.length + 3) & ~3)
  padded.set(encoded)
  return { words: new Uint32Array(padded.buffer), bytes: encoded.length }
}

function hashOfName(words: Uint32Array, begin: number, bytes: number): number {
  return nameHash(bytes, firstWord(words, begin, bytes), lastWord(words, begin, bytes))
}

function murmurOfText(words: Uint32Array, begin: number, bytes: number): number {
  return murmur3Words(words, begin, bytes, textSeed) | 0
}
