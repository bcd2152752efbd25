/**
 * A key of the environment: a table's number and bytes that stay where they are (in a batch's heap) until LMDB's
 * own key buffer takes them. One object serves all keys of a read.
 */
export class LmdbKey {
  length = 0
  private id = 0
  private source: Uint8Array = new Uint8Array(0)
  private begin = 0
  /** The bytes are a little-endian number, to be written with its biggest byte first. */
  private reversed = false

  bytes(id: number, source: Uint8Array, begin: number, length: number): this {
    this.id = id
    this.source = source
    this.begin = begin
    this.length = length
    this.reversed = false
    return this
  }

  u64(id: number, source: Uint8Array, begin: number): this {
    this.bytes(id, source, begin, 8)
    this.reversed = true
    return this
  }

  /** Without the table's number. */
  toBytes(): Buffer {
    return Buffer.from(this.source.subarray(this.begin, this.begin + this.length))
  }

  get first(): number {
    return this.source[this.begin]!
  }

  writeTo(target: Uint8Array, start: number): number {
    const { id, source, begin, length } = this
    target[start] = id >>> 24
    target[start + 1] = id >>> 16
    target[start + 2] = id >>> 8
    target[start + 3] = id
    const at = start + 4
    if (this.reversed) for (let i = 0; i < length; i++) target[at + i] = source[begin + length - 1 - i]!
    else for (let i = 0; i < length; i++) target[at + i] = source[begin + i]!
    return at + length
  }
}

/** What lmdb calls to write a key into its buffer and to read one back. */
export const keyEncoder = {
  writeKey: (key: LmdbKey, target: Uint8Array, start: number): number => key.writeTo(target, start),
  readKey: (source: Uint8Array, start: number, end: number): LmdbKey => {
    const id =
      ((source[start]! << 24) | (source[start + 1]! << 16) | (source[start + 2]! << 8) | source[start + 3]!) >>> 0
    return new LmdbKey().bytes(id, Uint8Array.prototype.slice.call(source, start + 4, end), 0, end - start - 4)
  },
}
