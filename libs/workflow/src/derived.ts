import { denseArray, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import type { FactRows, KeptRows } from '@millrace/facts'
import type { Columns } from './fact-columns'

export type Fill = (fields: Columns, into: Readonly<Record<string, DenseArray>>, rows: number) => void

export interface DerivedColumn {
  readonly name: string
  readonly dtype: DenseDType
  readonly shape: readonly number[]
}

interface Memory {
  readonly name: string
  readonly dtype: DenseDType
  readonly width: number
  /** Rows of the batch under way, `batchRows` of them, and behind them a row for each of the reader's. */
  values: DenseArray
  /** The same, as words where its rows are whole words, else as bytes: one loop sees few types of arrays. */
  units: Uint32Array | Uint8Array
}

/** What is kept of one fact, bytes; rows beyond it are made anew for every batch. */
const keptBytesMax = 64 * 2 ** 20
/** Words or bytes of a row above which a call that moves memory beats a loop. */
const loopMax = 8

/**
 * Columns that are made of a fact's fields alone. Where the store says which of its rows were read (`FactRows.kept`),
 * each is made once and then copied; else they are made for every row of every batch.
 */
export class Derived {
  private readonly memories: readonly Memory[]
  /** Rows of the largest batch so far. */
  private batchRows = 0
  private of: object | null = null
  /** By id, 1 when the row's values are there. */
  private made = new Uint8Array(0)

  constructor(
    columns: readonly DerivedColumn[],
    private readonly fill: Fill,
  ) {
    this.memories = columns.map(({ name, dtype, shape }) => ({
      name,
      dtype,
      width: shape.reduce((product, n) => product * n, 1),
      values: denseArray(dtype, 0),
      units: new Uint32Array(0),
    }))
  }

  /**
   * @param fields of `rows` rows, defaults in the place of what is missing
   * @returns columns that are valid until the next call: a thread runs one batch at a time
   */
  columns(fields: Columns, { rows, found, kept }: FactRows): Readonly<Record<string, DenseArray>> {
    if (kept === undefined || found.includes(0) || !this.hasRoom(kept.idsEnd)) {
      this.reserve(rows, this.made.length)
      const columns = this.batch(rows)
      for (const name in columns) (columns[name] as Float32Array).fill(0)
      this.fill(fields, columns, rows)
      return columns
    }
    this.reserve(rows, kept.idsEnd)
    this.make(fields, kept)
    for (const { units } of this.memories)
      gather(units, this.batchRows, kept.ids, units.length / (this.batchRows + this.made.length))
    return this.batch(rows)
  }

  private hasRoom(ids: number): boolean {
    const bytes = this.memories.reduce((sum, { width, values }) => sum + width * values.BYTES_PER_ELEMENT, 0)
    return ids * bytes <= keptBytesMax
  }

  private make(fields: Columns, { ids, of }: KeptRows): void {
    if (of !== this.of) this.made.fill(0)
    this.of = of
    const fresh: number[] = []
    for (let row = 0; row < ids.length; row++) {
      const id = ids[row]!
      if (this.made[id] === 1) continue
      this.made[id] = 1
      fresh.push(row)
    }
    if (fresh.length === 0) return
    const made = Object.fromEntries(
      this.memories.map(({ name, dtype, width }) => [name, denseArray(dtype, fresh.length * width)]),
    )
    try {
      this.fill(rowsOf(fields, fresh, ids.length), made, fresh.length)
    } catch (error) {
      for (const row of fresh) this.made[ids[row]!] = 0
      throw error
    }
    for (const { name, width, values } of this.memories)
      fresh.forEach((row, i) => {
        const value = made[name]!.subarray(i * width, (i + 1) * width)
        ;(values as Float32Array).set(value as Float32Array, (this.batchRows + ids[row]!) * width)
      })
  }

  private batch(rows: number): Record<string, DenseArray> {
    const columns: Record<string, DenseArray> = {}
    for (const { name, values, width } of this.memories) columns[name] = values.subarray(0, rows * width) as DenseArray
    return columns
  }

  /** Room for `rows` rows of a batch and `ids` of the reader's. */
  private reserve(rows: number, ids: number): void {
    if (rows <= this.batchRows && ids <= this.made.length) return
    const batchRows = Math.max(rows, this.batchRows)
    const made = new Uint8Array(ids <= this.made.length ? this.made.length : 2 * ids)
    made.set(this.made)
    for (const memory of this.memories) {
      const { dtype, width } = memory
      const values = denseArray(dtype, (batchRows + made.length) * width)
      ;(values as Float32Array).set(memory.values.subarray(this.batchRows * width) as Float32Array, batchRows * width)
      memory.values = values
      memory.units = unitsOf(values, width)
    }
    this.batchRows = batchRows
    this.made = made
  }
}

/** Some rows of columns that have `of` rows each. */
function rowsOf(columns: Columns, rows: readonly number[], of: number): Columns {
  return Object.fromEntries(
    Object.entries(columns).map(([name, column]) => {
      if (column instanceof Strings) {
        const spans = new Uint32Array(2 * rows.length)
        rows.forEach((row, i) => spans.set(column.spans.subarray(2 * row, 2 * row + 2), 2 * i))
        return [name, new Strings(spans, column.heap, rows.length)]
      }
      const width = column.length / of
      const some = new (column.constructor as new (length: number) => Float32Array)(rows.length * width)
      rows.forEach((row, i) => some.set((column as Float32Array).subarray(row * width, (row + 1) * width), i * width))
      return [name, some]
    }),
  )
}

function unitsOf({ buffer, BYTES_PER_ELEMENT }: DenseArray, width: number): Uint32Array | Uint8Array {
  return (width * BYTES_PER_ELEMENT) % 4 === 0 ? new Uint32Array(buffer) : new Uint8Array(buffer)
}

/** Copies the kept rows `ids`, which begin at row `kept`, to the first rows: in one memory, so that no copy needs a view. */
function gather(units: Uint32Array | Uint8Array, kept: number, ids: Int32Array, width: number): void {
  if (width === 1) for (let row = 0; row < ids.length; row++) units[row] = units[kept + ids[row]!]!
  else
    for (let row = 0; row < ids.length; row++) {
      const from = (kept + ids[row]!) * width
      if (width > loopMax) units.copyWithin(row * width, from, from + width)
      else for (let i = 0; i < width; i++) units[row * width + i] = units[from + i]!
    }
}
