import { Strings, type DenseArray } from '@millrace/base'
import type { FactRows } from '@millrace/facts'
import type { Fact, Field } from './declare'
import type { Derived } from './derived'

export type Columns = Readonly<Record<string, DenseArray | Strings>>

/**
 * One fact as user code reads it. A field is made when it is first read: where columns are derived from it, or one
 * version of a workflow wants it and the next does not, nobody pays for it.
 */
export class FactColumns {
  private rows!: FactRows
  private complete = true
  /** Of the batch under way, by field; null until it is read. */
  private readonly made: (DenseArray | Strings | null)[]
  /** What columns are derived from, and these with what is derived. */
  private readonly fields: Columns = {}
  private readonly columns: Columns = {}

  constructor(
    private readonly declared: readonly (Field & { readonly name: string })[],
    private readonly missing: Fact['missing'],
    private readonly derived: Derived | null,
  ) {
    this.made = declared.map(() => null)
    declared.forEach(({ name }, f) => {
      const property = { enumerable: true, get: () => (this.made[f] ??= this.make(f)) }
      Object.defineProperty(this.fields, name, property)
      Object.defineProperty(this.columns, name, property)
    })
  }

  /** @returns one object for all batches, of these rows until the next call: a thread runs one batch at a time */
  of(rows: FactRows): Columns {
    this.rows = rows
    this.complete = !rows.found.includes(0)
    this.made.fill(null)
    return this.derived === null ? this.columns : Object.assign(this.columns, this.derived.columns(this.fields, rows))
  }

  private make(f: number): DenseArray | Strings {
    const { rows, missing } = this
    const { name, shape } = this.declared[f]!
    const column = rows.column(name)
    if (this.complete || missing === 'refuse') return column
    const value = missing[name]!
    if ('spans' in column) return stringDefault(column, rows.found, value as string)
    const width = shape.reduce((product, n) => product * n, 1)
    return denseDefault(column, rows.found, value, width)
  }
}

function denseDefault(column: DenseArray, found: Uint8Array, value: unknown, width: number): DenseArray {
  const numbers = column as Float32Array
  for (let i = found.indexOf(0); i >= 0; i = found.indexOf(0, i + 1)) {
    if (Array.isArray(value)) numbers.set(value as number[], i * width)
    else numbers.fill((typeof value === 'boolean' ? Number(value) : value) as number, i * width, (i + 1) * width)
  }
  return column
}

/** The column's own bytes and the default's in a heap of their own: the store's may be far larger. */
function stringDefault(column: Strings, found: Uint8Array, value: string): Strings {
  const standIn = Buffer.from(value, 'utf8')
  let bytes = standIn.length
  for (let i = 0; i < column.length; i++) bytes += column.spans[2 * i + 1]!
  const spans = new Uint32Array(2 * column.length)
  const heap = Buffer.allocUnsafe(bytes)
  let used = standIn.copy(heap)
  for (let i = 0; i < column.length; i++) {
    const text = found[i] === 1 ? column.bytes(i) : standIn
    spans[2 * i] = found[i] === 1 ? used : 0
    spans[2 * i + 1] = text.length
    if (found[i] === 1) used += text.copy(heap, used)
  }
  return new Strings(spans, heap, column.length)
}
