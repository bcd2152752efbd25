import { denseArray, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import { copyBytes, damaged, elements, noField, textLength } from './columns'
import { keyBytesMax } from './keys'
import type { RecordPlan } from './record'
import type { FactRows } from './store'

/*
 * Rows of one table that one thread has read and that are still as they were. What many requests ask for, in one
 * batch or in the next, is then read once: a row that is here costs a fifth to a half of a look-up in the store.
 *
 * An open hash table of places, and a slot for each row. Both are rows of words, so that a hit touches few lines of the
 * CPU's cache: one of the table, one or two of the key's heap; the slot only when fields are gathered.
 *
 *   place | hash | key: begin in words, bytes | slot + 1, or 0 where it is free |
 *   slot  | dense fields, each from a whole word on | text fields: begin, length |
 *
 * Whether there is such a row lies apart, a byte for each slot: a read asks that of all its rows, and may ask for no field.
 * Keys and text lie in two heaps. Keys are hashed, kept and compared by the word. Everything is dropped when the table
 * changes or the budget is reached: no order of use is kept. Results that were handed out stay as they are: dense values
 * are copied, text is only ever appended.
 */

const slotsFirst = 256
/** Places that a key may be away from where its hash sends it; keys chosen to collide cost no more than this. */
const probesMax = 64
/** Where fewer than one row in this many was here already, keeping rows costs more than it saves ... */
const rowsPerHit = 8
/** ... and for this many reads each keeps its rows for itself; then it is tried again. */
const restReads = 1000
/** Words of a place in the table. */
const placeWords = 4
const hashAt = 0
const keyBeginAt = 1
const keyBytesAt = 2
const slotAt = 3

interface DenseField {
  readonly name: string
  readonly dtype: DenseDType
  readonly elements: number
  readonly bytes: number
  /** In the record, bytes. */
  readonly from: number
  /** In the slot, words. */
  readonly at: number
}

export class RowCache {
  private version = -1
  private used = 0
  /** Rows that were asked for and rows that were here, since rows were dropped for want of room. */
  private asked = 0
  private hits = 0
  /** Reads that keep nothing for the next. */
  private resting = 0
  /** Places by hash, a power of two of them. */
  private table!: Uint32Array
  /** Those that are taken. */
  private placed = 0
  /** `stride` words for each slot, and the same memory as bytes. */
  private words!: Uint32Array
  private bytes!: Uint8Array
  /** By slot, 1 when the store has the row. */
  private found!: Uint8Array
  private keys = new Uint32Array(8 * slotsFirst)
  private keysUsed = 0
  /** Where the keys of the read under way are, and the one that is looked for, its last word filled with zeros. */
  private source: Uint32Array = new Uint32Array(0)
  private sourceBegin = 0
  private readonly key = new Uint32Array(Math.ceil(keyBytesMax / 4))
  private text: Buffer = Buffer.alloc(0)
  private textUsed = 0
  /** By row of the read under way. */
  private slots = new Int32Array(slotsFirst)
  private readonly stride: number
  private readonly textAt: number
  private readonly dense: readonly DenseField[]

  constructor(
    private readonly plan: RecordPlan,
    private readonly bytesMax: number,
  ) {
    let at = 0
    this.dense = plan.dense.map(({ field, offset, bytes }) => {
      const dtype = field.dtype as DenseDType
      const placed = { name: field.name, dtype, elements: elements(field.shape), bytes, from: offset, at }
      at += Math.ceil(bytes / 4)
      return placed
    })
    this.textAt = at
    this.stride = at + 2 * plan.text.length
    this.make(slotsFirst)
  }

  /** Before a read of `rows` rows of the table as it is at `version`; `keys` is what `has` finds their bytes in. */
  begin(version: number, rows: number, keys: Uint8Array): void {
    const bytes = 4 * (this.used * this.stride + this.placed * placeWords + this.keysUsed) + this.textUsed
    if (bytes > this.bytesMax) {
      this.resting = this.hits * rowsPerHit < this.asked ? restReads : 0
      this.asked = this.hits = 0
      this.clear()
    } else if (this.used > 0 && (version !== this.version || this.resting > 0)) this.clear()
    if (this.resting > 0) this.resting--
    this.asked += rows
    this.version = version
    if (this.slots.length < rows) this.slots = new Int32Array(2 * rows)
    const whole = keys.buffer.byteLength % 4 === 0
    this.source = new Uint32Array(whole ? keys.buffer : wholeWords(keys))
    this.sourceBegin = whole ? keys.byteOffset : 0
  }

  /** What was read last may be half there. */
  forget(): void {
    this.version = -1
  }

  /** Row `row` of the read has the key of `length` bytes at `begin`. False when it is new here: its record is `put`, unless there is none. */
  has(row: number, begin: number, length: number): boolean {
    const { table, keys, key } = this
    const hash = copyKey(this.source, this.sourceBegin + begin, length, key)
    const keyWords = (length + 3) >>> 2
    const last = table.length - placeWords
    let place = (hash << 2) & last
    for (let probe = 0; probe < probesMax; probe++, place = (place + placeWords) & last) {
      const slot = table[place + slotAt]!
      if (slot === 0) {
        this.slots[row] = this.add()
        this.keep(place, hash, length)
        return false
      }
      if (table[place + hashAt] !== hash || table[place + keyBytesAt] !== length) continue
      const begun = table[place + keyBeginAt]!
      let word = 0
      while (word < keyWords && keys[begun + word] === key[word]) word++
      if (word < keyWords) continue
      this.slots[row] = slot - 1
      this.hits++
      return true
    }
    this.slots[row] = this.add()
    return false
  }

  /** Row `row` of the read has a key that cannot be there. */
  miss(row: number): void {
    this.slots[row] = this.add()
  }

  /** The row's record is the first `length` bytes of `record`. */
  put(row: number, record: Uint8Array, length: number): void {
    const { table, dense, denseBytes, text } = this.plan
    if (length < denseBytes) damaged(table)
    const slot = this.slots[row]! * this.stride
    for (let f = 0; f < dense.length; f++) {
      const { from, at, bytes } = this.dense[f]!
      copyBytes(record, from, this.bytes, 4 * (slot + at), bytes)
    }
    let at = denseBytes
    for (let f = 0; f < text.length; f++) {
      const bytes = textLength(table, record, at, length)
      at += 4
      if (this.textUsed + bytes > this.text.length) this.text = larger(this.text, this.textUsed, bytes)
      copyBytes(record, at, this.text, this.textUsed, bytes)
      this.words[slot + this.textAt + 2 * f] = this.textUsed
      this.words[slot + this.textAt + 2 * f + 1] = bytes
      this.textUsed += bytes
      at += bytes
    }
    this.found[this.slots[row]!] = 1
  }

  finish(rows: number): FactRows {
    const { words, bytes, text, stride } = this
    const ids = this.slots.slice(0, rows)
    const found = new Uint8Array(rows)
    for (let i = 0; i < rows; i++) found[i] = this.found[ids[i]!]!
    const column = (name: string): DenseArray | Strings => {
      const field = this.dense.find((one) => one.name === name)
      if (field !== undefined) return denseColumn(field, words, bytes, ids, stride)
      const f = this.plan.text.findIndex((one) => one.name === name)
      if (f < 0) noField(this.plan.table, name)
      const spans = new Uint32Array(2 * rows)
      gatherWords(words, ids, stride, this.textAt + 2 * f, 2, spans)
      return new Strings(spans, text, rows)
    }
    return { rows, found, column, kept: { ids, idsEnd: this.used, of: words } }
  }

  private add(): number {
    const slot = this.used++
    if (slot === this.found.length) this.grow()
    return slot
  }

  /** Puts the key that was copied last, and the slot that was added last, at a free place. */
  private keep(place: number, hash: number, length: number): void {
    const { table, keysUsed } = this
    const keyWords = (length + 3) >>> 2
    if (keysUsed + keyWords > this.keys.length) {
      const keys = new Uint32Array(2 * this.keys.length + keyWords)
      keys.set(this.keys)
      this.keys = keys
    }
    table[place + hashAt] = hash
    table[place + keyBeginAt] = keysUsed
    table[place + keyBytesAt] = length
    table[place + slotAt] = this.used
    for (let word = 0; word < keyWords; word++) this.keys[keysUsed + word] = this.key[word]!
    this.keysUsed += keyWords
    // A quarter full at most: most keys are where their hash sends them.
    if (4 * ++this.placed > table.length / placeWords) this.rehash()
  }

  private make(slots: number): void {
    this.table = new Uint32Array(4 * slots * placeWords)
    this.words = new Uint32Array(slots * this.stride)
    this.bytes = new Uint8Array(this.words.buffer)
    this.found = new Uint8Array(slots)
  }

  private grow(): void {
    const { words, found } = this
    this.words = new Uint32Array(2 * words.length)
    this.words.set(words)
    this.bytes = new Uint8Array(this.words.buffer)
    this.found = new Uint8Array(2 * found.length)
    this.found.set(found)
  }

  private rehash(): void {
    const { table: old } = this
    const table = new Uint32Array(2 * old.length)
    const last = table.length - placeWords
    for (let from = 0; from < old.length; from += placeWords) {
      if (old[from + slotAt] === 0) continue
      let to = (old[from + hashAt]! << 2) & last
      while (table[to + slotAt] !== 0) to = (to + placeWords) & last
      for (let word = 0; word < placeWords; word++) table[to + word] = old[from + word]!
    }
    this.table = table
  }

  /** Made as large as was needed since the last time: a table that changes often is not cleared by the megabyte. */
  private clear(): void {
    this.make(2 ** Math.ceil(Math.log2(Math.max(this.used, slotsFirst))))
    this.text = Buffer.allocUnsafeSlow(this.textUsed)
    this.used = this.placed = this.keysUsed = this.textUsed = 0
  }
}

function larger(heap: Buffer, used: number, bytes: number): Buffer {
  const twice = Buffer.allocUnsafeSlow(Math.max(2 * heap.length, used + bytes, 4096))
  heap.copy(twice, 0, 0, used)
  return twice
}

/**
 * Copies `length` bytes at `begin` of `words` to the begin of `into`.
 *
 * @returns their hash: words are mixed as in FxHash, by one multiplication each; MurmurHash2's last lines spread what it leaves
 *   in the high bits alone
 */
function copyKey(words: Uint32Array, begin: number, length: number, into: Uint32Array): number {
  const shift = (begin & 3) * 8
  const last = (begin + length - 1) >>> 2
  const whole = length >>> 2
  let at = begin >>> 2
  let low = words[at]!
  let hash = length
  for (let word = 0; word < whole; word++) {
    const high = words[Math.min(++at, last)]!
    // Twice, since a shift by 32 is none.
    const bits = (low >>> shift) | ((high << 1) << (31 - shift))
    into[word] = bits
    hash = mix(hash, bits)
    low = high
  }
  const rest = (length & 3) * 8
  if (rest > 0) {
    const high = words[Math.min(at + 1, last)]!
    const bits = ((low >>> shift) | ((high << 1) << (31 - shift))) & ((1 << rest) - 1)
    into[whole] = bits
    hash = mix(hash, bits)
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0x5bd1e995)
  return (hash ^ (hash >>> 15)) >>> 0
}

function mix(hash: number, bits: number): number {
  return Math.imul(((hash << 5) | (hash >>> 27)) ^ bits, 0x9e3779b1)
}

/** A copy that ends with a whole word. */
function wholeWords(bytes: Uint8Array): ArrayBuffer {
  const copy = new Uint8Array((bytes.length + 3) & ~3)
  copy.set(bytes)
  return copy.buffer
}

function denseColumn(
  { dtype, elements, bytes: width, at }: DenseField,
  words: Uint32Array,
  bytes: Uint8Array,
  ids: Int32Array,
  stride: number,
): DenseArray {
  const column = denseArray(dtype, ids.length * elements)
  // As words or bytes, whatever the dtype: one loop sees one type of array, and no NaN is changed on its way.
  if (width % 4 === 0) gatherWords(words, ids, stride, at, width / 4, new Uint32Array(column.buffer))
  else gatherBytes(bytes, ids, 4 * stride, 4 * at, width, new Uint8Array(column.buffer))
  return column
}

/** Row `i` of `into` is `width` words at `at` of slot `slots[i]`. */
function gatherWords(
  from: Uint32Array,
  slots: Int32Array,
  stride: number,
  at: number,
  width: number,
  into: Uint32Array,
): void {
  if (width === 1) {
    for (let i = 0; i < slots.length; i++) into[i] = from[slots[i]! * stride + at]!
    return
  }
  for (let i = 0, to = 0; i < slots.length; i++) {
    const begin = slots[i]! * stride + at
    for (let j = 0; j < width; j++) into[to++] = from[begin + j]!
  }
}

function gatherBytes(
  from: Uint8Array,
  slots: Int32Array,
  stride: number,
  at: number,
  width: number,
  into: Uint8Array,
): void {
  for (let i = 0, to = 0; i < slots.length; i++) {
    const begin = slots[i]! * stride + at
    for (let j = 0; j < width; j++) into[to++] = from[begin + j]!
  }
}
