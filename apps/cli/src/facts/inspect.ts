import { Strings, type DenseArray } from '@millrace/base'
import type { FactRows, FactStore, FactTable } from '@millrace/facts'
import { Exit, print, printJson, table as draw, UsageError } from '../output'
import { describeField } from './declaration'
import { openStore, type StoreOptions } from './open-store'

export interface InspectOptions extends StoreOptions {
  readonly json?: boolean
  readonly limit?: string
}

/** The tables, their keys, fields and rows. */
export async function list(options: InspectOptions): Promise<number> {
  return withStore(options, async (store) => {
    const tables = [...store.tables()].sort((a, b) => (a.name < b.name ? -1 : 1))
    const counts = await Promise.all(tables.map(({ name }) => store.count(name)))
    if (options.json === true) printJson(tables.map((table, i) => ({ ...table, rows: counts[i] })))
    else if (tables.length === 0) print('no tables')
    else
      print(
        draw([
          ['table', 'key', 'rows', 'fields'],
          ...tables.map(({ name, key, fields }, i) => [
            name,
            key,
            String(counts[i]),
            fields.map(describeField).join(', '),
          ]),
        ]),
      )
    return Exit.good
  })
}

/** The first rows of a table, or with `limit` 0 all of them, as JSON lines that `load` takes back. */
export async function show(name: string, options: InspectOptions): Promise<number> {
  const limit = Number(options.limit)
  if (!(Number.isInteger(limit) && limit >= 0)) throw new UsageError(`--limit ${options.limit} is no whole number`)
  return withStore(options, async (store) => {
    const table = tableOf(store, name)
    let rows = 0
    await store.scan(name, (key, row) => {
      print(JSON.stringify({ key: plain(key), ...recordOf(table, row, 0) }))
      return ++rows !== limit
    })
    return Exit.good
  })
}

/** One row; exit 1 when it is not there. */
export async function get(name: string, key: string, options: InspectOptions): Promise<number> {
  return withStore(options, async (store) => {
    const table = tableOf(store, name)
    if (table.key === 'u64' && !/^\d{1,20}$/.test(key)) throw new UsageError(`table ${name} has u64 keys, not ${key}`)
    const row = await store.read(name, table.key === 'u64' ? BigUint64Array.of(BigInt(key)) : Strings.of([key]))
    if (row.found[0] === 0) {
      if (options.json === true) printJson(null)
      else print(`table ${name} has no row for key ${key}`)
      return Exit.no
    }
    const record = recordOf(table, row, 0)
    if (options.json === true) printJson(record)
    else print(draw(Object.entries(record).map(([field, value]) => [field, JSON.stringify(value)])))
    return Exit.good
  })
}

function tableOf(store: FactStore, name: string): FactTable {
  const table = store.tables().find((one) => one.name === name)
  const there = store.tables().map((one) => one.name)
  if (table === undefined) throw new UsageError(`there is no table ${name}; there are ${there.join(', ') || 'none'}`)
  return table
}

async function withStore(options: StoreOptions, work: (store: FactStore) => Promise<number>): Promise<number> {
  const { store } = await openStore(options, true)
  if (store === null) throw new UsageError('there are no facts yet: millrace facts load writes some')
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

/** A row as JSON can say it: bytes in base64, 64-bit numbers as text, NaN as null. */
function recordOf(table: FactTable, rows: FactRows, row: number): Record<string, unknown> {
  return Object.fromEntries(
    table.fields.map(({ name, dtype, shape }) => {
      const column = rows.column(name)
      if (column instanceof Strings)
        return [name, dtype === 'bytes' ? column.bytes(row).toString('base64') : column.at(row)]
      const width = shape.reduce((product, n) => product * n, 1)
      const values = Array.from((column as DenseArray).subarray(row * width, (row + 1) * width) as Float32Array, plain)
      return [name, shape.length === 0 ? values[0] : values]
    }),
  )
}

function plain(value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}
