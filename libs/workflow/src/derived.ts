import { denseArray, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import type { FactRows } from '@millrace/facts'

export type FactColumns = Readonly<Record<string, DenseArray | Strings>>
export type Fill = (fields: FactColumns, into: Readonly<Record<string, DenseArray>>, rows: number) => void

export interface DerivedColumn {
  readonly name: string
  readonly dtype: DenseDType
  readonly shape: readonly number[]
}

interface Kept {
  readonly name: string
  readonly dtype: DenseDType
  readonly width: number
  /** `width` values for each row of the reader, by its id. */
  values: DenseArray
  /** Of the batch under way; grows to the largest batch and stays. */
  batch: DenseArray
}

/** What is kept of one fact, bytes; rows beyond it are made anew for every batch. */
const keptBytesMax = 64 * 2 ** 20

/**
 * Columns that are made of a fact's fields alone. Where the store says which of its rows were read (`FactRows.kept`),
 * each is made once and then copied; else they are made for every row of every batch.
 */
export class Derived {
  private readonly kept: readonly Kept[]
  private of: object | null = null
  /** By id, 1 when the row's values are there. */
  private made = new Uint8Array(0)

  constructor(
    columns: readonly DerivedColumn[],
    private readonly fill: Fill,
  ) {
    this.kept = columns.map(({ name, dtype, shape }) => ({
      name,
      dtype,
      width: shape.reduce((product, n) => product * n, 1),
      values: denseArray(dtype, 0),
      batch: denseArray(dtype, 0),
    }))
  }

  /**
   * @param fields of `rows` rows, defaults in the place of what is missing
   * @returns columns that are valid until the next call: a thread runs one batch at a time
   */
  columns(fields: FactColumns, { rows, found, kept }: FactRows): FactColumns {
    const into = this.batchOf(rows)
    if (kept === undefined || found.includes(0) || !this.hasRoom(kept.ids)) {
      for (const { name } of this.kept) (into[name] as Float32Array).fill(0)
      this.fill(fields, into, rows)
    } else {
      this.make(fields, kept)
      for (const { name, width, values } of this.kept)
        gather(values as Float32Array, kept.ids, rows, width, into[name] as Float32Array)
    }
    return into
  }

  private hasRoom(ids: Int32Array): boolean {
    let most = 0
    for (let row = 0; row < ids.length; row++) most = Math.max(most, ids[row]!)
    if (most < this.made.length) return true
    const rows = 2 * most + 256
    const bytes = this.kept.reduce((sum, { width, values }) => sum + width * values.BYTES_PER_ELEMENT, 0)
    if (rows * bytes > keptBytesMax) return false
    this.grow(rows)
    return true
  }

  private make(fields: FactColumns, { ids, of }: NonNullable<FactRows['kept']>): void {
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
    const made = this.arrays(fresh.length)
    try {
      this.fill(rowsOf(fields, fresh, ids.length), made, fresh.length)
    } catch (error) {
      for (const row of fresh) this.made[ids[row]!] = 0
      throw error
    }
    for (const { name, width, values } of this.kept)
      fresh.forEach((row, i) => {
        const from = made[name] as Float32Array
        for (let j = 0; j < width; j++) (values as Float32Array)[ids[row]! * width + j] = from[i * width + j]!
      })
  }

  private batchOf(rows: number): Record<string, DenseArray> {
    const into: Record<string, DenseArray> = {}
    for (const column of this.kept) {
      const length = rows * column.width
      if (column.batch.length < length) column.batch = denseArray(column.dtype, length)
      into[column.name] = column.batch.subarray(0, length) as DenseArray
    }
    return into
  }

  private arrays(rows: number): Record<string, DenseArray> {
    return Object.fromEntries(this.kept.map(({ name, dtype, width }) => [name, denseArray(dtype, rows * width)]))
  }

  private grow(ids: number): void {
    const made = new Uint8Array(ids)
    made.set(this.made)
    this.made = made
    for (const column of this.kept) {
      const values = denseArray(column.dtype, ids * column.width)
      ;(values as Float32Array).set(column.values as Float32Array)
      column.values = values
    }
  }
}

/** Some rows of columns that have `of` rows each. */
function rowsOf(columns: FactColumns, rows: readonly number[], of: number): FactColumns {
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

function gather(values: Float32Array, ids: Int32Array, rows: number, width: number, into: Float32Array): void {
  for (let row = 0, to = 0; row < rows; row++) {
    const begin = ids[row]! * width
    for (let j = 0; j < width; j++) into[to++] = values[begin + j]!
  }
}
