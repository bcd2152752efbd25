/**
 * A ragged column: row `i` is `spans[2i + 1]` bytes at `spans[2i]` of the heap. Begin and length, not
 * running offsets, so that all ragged columns of a batch share one heap and rows may come in any order.
 */
export interface Spans {
  /** `[begin, length]` in bytes, for each row. */
  readonly spans: Uint32Array
  /** The bytes; usually the heap of a slab, in shared memory. */
  readonly heap: Buffer
}

/** A ragged column of text or bytes, read only. Nothing is decoded until somebody asks. */
export class Strings implements Spans {
  constructor(
    readonly spans: Uint32Array,
    readonly heap: Buffer,
    /** Rows. */
    readonly length: number,
    /** Of the column, for messages. */
    readonly name: string = '',
  ) {}

  /** Row `i` as text. Allocates the string and nothing else. Throws RangeError for a row that is not there. */
  at(i: number): string {
    const begin = this.spans[2 * i]
    if (begin === undefined) throw noRow(this, i)
    return this.heap.toString('utf8', begin, begin + this.spans[2 * i + 1]!)
  }

  /** Row `i` as bytes: a view into the batch, valid while the batch runs. Throws RangeError for a row that is not there. */
  bytes(i: number): Buffer {
    const begin = this.spans[2 * i]
    if (begin === undefined) throw noRow(this, i)
    return this.heap.subarray(begin, begin + this.spans[2 * i + 1]!)
  }

  /** All rows as text. */
  toArray(): string[] {
    const out = new Array<string>(this.length)
    for (let i = 0; i < this.length; i++) out[i] = this.at(i)
    return out
  }

  /** Rows `begin .. end - 1`, over the same bytes. */
  part(begin: number, end: number): Strings {
    return new Strings(this.spans.subarray(2 * begin, 2 * end), this.heap, end - begin, this.name)
  }

  static of(values: readonly (string | Uint8Array)[], name = ''): Strings {
    const parts = values.map((value) => (typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value)))
    const spans = new Uint32Array(parts.length * 2)
    let begin = 0
    parts.forEach((part, i) => {
      spans[2 * i] = begin
      spans[2 * i + 1] = part.length
      begin += part.length
    })
    return new Strings(spans, Buffer.concat(parts), parts.length, name)
  }
}

function noRow(column: { readonly name: string; readonly length: number }, i: number): RangeError {
  return new RangeError(`${named(column)}row ${i} of ${column.length}`)
}

function named({ name }: { readonly name: string }): string {
  return name === '' ? '' : `column '${name}': `
}

/** Where the next bytes of a heap go; shared by all writers of one batch. */
export interface HeapCursor {
  /** First free byte. */
  used: number
}

/** A ragged output column, write only; rows may be set in any order, each once. Rows never set are empty. */
export class StringsWriter implements Spans {
  constructor(
    readonly spans: Uint32Array,
    readonly heap: Buffer,
    readonly length: number,
    private readonly cursor: HeapCursor,
    /** Of the column, for messages. */
    readonly name: string = '',
  ) {}

  /** Rows `begin .. end - 1`; what is set there goes to the same heap. */
  part(begin: number, end: number): StringsWriter {
    return new StringsWriter(this.spans.subarray(2 * begin, 2 * end), this.heap, end - begin, this.cursor, this.name)
  }

  /**
   * Throws RangeError for a row that is not there, and when the batch's heap is full: outputs larger than its slab;
   * TypeError for what is neither text nor bytes.
   */
  set(i: number, value: string | Uint8Array): void {
    if (!(i >= 0 && i < this.length)) throw noRow(this, i)
    if (typeof value !== 'string' && !ArrayBuffer.isView(value))
      throw new TypeError(`${named(this)}row ${i} is set to a ${typeof value}; it takes a string or bytes`)
    const begin = this.cursor.used
    const length = typeof value === 'string' ? Buffer.byteLength(value) : value.length
    if (begin + length > this.heap.length)
      throw new RangeError(
        `string outputs of this batch need more than the ${this.heap.length} bytes its slab has for strings; ` +
          `raise MILLRACE_SLAB_STRING_BYTES or lower the workflow's batch rows`,
      )
    if (typeof value === 'string') this.heap.write(value, begin, 'utf8')
    else this.heap.set(value, begin)
    this.spans[2 * i] = begin
    this.spans[2 * i + 1] = length
    this.cursor.used = begin + length
  }
}
