import { denseArray, murmur3, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import { copyBytes, damaged, elements, textLength } from './columns'
import type { RecordPlan } from './record'
import type { FactRows } from './store'

/*
 * Rows of one table that one thread has read and that are still as they were. What many requests ask for, in one
 * batch or in the next, is then read once: a row that is here costs a fifth to a half of a look-up in the store.
 *
 * An open hash table of slots. A slot is a row of words, so that a hit touches few lines of the CPU's cache:
 *
 *   | hash | key: begin, length | found | dense fields, each from a whole word on | text fields: begin, length |
 *
 * Keys and text lie in two heaps. Everything is dropped when the table changes or the budget is reached: no order of
 * use is kept. Results that were handed out stay as they are: dense values are copied, text is only ever appended.
 */

const slotsFirst = 256
/** Places that a key may be away from where its hash sends it; keys chosen to collide cost no more than this. */
const probesMax = 64
/** Where fewer than one row in this many was here already, keeping rows costs more than it saves ... */
const rowsPerHit = 8
/** ... and for this many reads each keeps its rows for itself; then it is tried again. */
const restReads = 1000
const hashAt = 0
const keyAt = 1
const foundAt = 3
const fieldsAt = 4

export class RowCache {
  private version = -1
  private used = 0
  /** Rows that were asked for and rows that were here, since rows were dropped for want of room. */
  private asked = 0
  private hits = 0
  /** Reads that keep nothing for the next. */
  private resting = 0
  /** Slots by hash; -1 is free. */
  private table!: Int32Array
  /** `stride` words for each slot, and the same memory as bytes. */
  private words!: Uint32Array
  private bytes!: Uint8Array
  private keys: Buffer = Buffer.allocUnsafeSlow(16 * slotsFirst)
  private keysUsed = 0
  private text: Buffer = Buffer.alloc(0)
  private textUsed = 0
  /** By row of the read under way. */
  private slots = new Int32Array(slotsFirst)
  private readonly stride: number
  private readonly textAt: number
  private readonly dense: readonly {
    readonly name: string
    readonly dtype: DenseDType
    readonly elements: number
    readonly bytes: number
    /** In the record, bytes. */
    readonly from: number
    /** In the slot, words. */
    readonly at: number
  }[]

  constructor(
    private readonly plan: RecordPlan,
    private readonly bytesMax: number,
  ) {
    let at = fieldsAt
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

  /** Before a read of `rows` rows of the table as it is at `version`. */
  begin(version: number, rows: number): void {
    const bytes = 4 * this.used * this.stride + this.keysUsed + this.textUsed
    if (bytes > this.bytesMax) {
      this.resting = this.hits * rowsPerHit < this.asked ? restReads : 0
      this.asked = this.hits = 0
      this.clear()
    } else if (this.used > 0 && (version !== this.version || this.resting > 0)) this.clear()
    if (this.resting > 0) this.resting--
    this.asked += rows
    this.version = version
    if (this.slots.length < rows) this.slots = new Int32Array(2 * rows)
  }

  /** What was read last may be half there. */
  forget(): void {
    this.version = -1
  }

  /** Row `row` of the read has this key. False when it is new here: its record is `put`, unless there is none. */
  has(row: number, source: Uint8Array, begin: number, length: number): boolean {
    const hash = murmur3(source, begin, length, 0)
    const { table, words, stride } = this
    const mask = table.length - 1
    for (let probe = 0; probe < probesMax; probe++) {
      const at = (hash + probe) & mask
      const slot = table[at]!
      if (slot < 0) {
        table[at] = this.slots[row] = this.add(hash, source, begin, length)
        // A quarter full at most: most keys are where their hash sends them.
        if (4 * this.used > table.length) this.rehash()
        return false
      }
      if (words[slot * stride] === hash && this.isKey(slot, source, begin, length)) {
        this.slots[row] = slot
        this.hits++
        return true
      }
    }
    this.slots[row] = this.add(hash, source, begin, 0)
    return false
  }

  /** Row `row` of the read has a key that cannot be there. */
  miss(row: number): void {
    this.slots[row] = this.add(0, this.keys, 0, 0)
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
    this.words[slot + foundAt] = 1
  }

  finish(rows: number): FactRows {
    const { slots, words, stride } = this
    const found = new Uint8Array(rows)
    for (let i = 0; i < rows; i++) found[i] = words[slots[i]! * stride + foundAt]!
    const columns: Record<string, DenseArray | Strings> = {}
    for (const { name, dtype, elements, bytes, at } of this.dense) {
      const into = (columns[name] = denseArray(dtype, rows * elements))
      // As words or bytes, whatever the dtype: one loop sees one type of array, and no NaN is changed on its way.
      if (bytes % 4 === 0) gather(words, slots, rows, stride, at, bytes / 4, new Uint32Array(into.buffer))
      else gather(this.bytes, slots, rows, 4 * stride, 4 * at, bytes, new Uint8Array(into.buffer))
    }
    this.plan.text.forEach((field, f) => {
      const spans = new Uint32Array(2 * rows)
      gather(words, slots, rows, stride, this.textAt + 2 * f, 2, spans)
      columns[field.name] = new Strings(spans, this.text, rows)
    })
    return { rows, found, columns, kept: { ids: slots.slice(0, rows), of: this.words } }
  }

  private add(hash: number, source: Uint8Array, begin: number, length: number): number {
    const slot = this.used++
    const at = slot * this.stride
    if (at === this.words.length) this.grow()
    if (this.keysUsed + length > this.keys.length) this.keys = larger(this.keys, this.keysUsed, length)
    this.words[at + hashAt] = hash
    this.words[at + keyAt] = this.keysUsed
    this.words[at + keyAt + 1] = length
    for (let i = 0; i < length; i++) this.keys[this.keysUsed + i] = source[begin + i]!
    this.keysUsed += length
    return slot
  }

  private isKey(slot: number, source: Uint8Array, begin: number, length: number): boolean {
    const at = slot * this.stride + keyAt
    if (this.words[at + 1] !== length) return false
    const key = this.words[at]!
    for (let i = 0; i < length; i++) if (this.keys[key + i] !== source[begin + i]) return false
    return true
  }

  private make(slots: number): void {
    this.table = new Int32Array(4 * slots).fill(-1)
    this.words = new Uint32Array(slots * this.stride)
    this.bytes = new Uint8Array(this.words.buffer)
  }

  private grow(): void {
    const { words } = this
    this.words = new Uint32Array(2 * words.length)
    this.words.set(words)
    this.bytes = new Uint8Array(this.words.buffer)
  }

  private rehash(): void {
    const table = new Int32Array(2 * this.table.length).fill(-1)
    const mask = table.length - 1
    for (const slot of this.table) {
      if (slot < 0) continue
      let at = this.words[slot * this.stride]! & mask
      while (table[at]! >= 0) at = (at + 1) & mask
      table[at] = slot
    }
    this.table = table
  }

  /** Made as large as was needed since the last time: a table that changes often is not cleared by the megabyte. */
  private clear(): void {
    this.make(2 ** Math.ceil(Math.log2(Math.max(this.used, slotsFirst))))
    this.text = Buffer.allocUnsafeSlow(this.textUsed)
    this.used = this.keysUsed = this.textUsed = 0
  }
}

function larger(heap: Buffer, used: number, bytes: number): Buffer {
  const twice = Buffer.allocUnsafeSlow(Math.max(2 * heap.length, used + bytes, 4096))
  heap.copy(twice, 0, 0, used)
  return twice
}

/** Row `i` of `into` is `width` elements at `at` of slot `slots[i]`. */
function gather<T extends Uint32Array | Uint8Array>(
  from: T,
  slots: Int32Array,
  rows: number,
  stride: number,
  at: number,
  width: number,
  into: T,
): void {
  if (width === 1) {
    for (let i = 0; i < rows; i++) into[i] = from[slots[i]! * stride + at]!
    return
  }
  for (let i = 0, to = 0; i < rows; i++) {
    const begin = slots[i]! * stride + at
    for (let j = 0; j < width; j++) into[to++] = from[begin + j]!
  }
}
