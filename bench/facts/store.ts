import type { FactStore, FactTable } from '@millrace/facts'

/** Invented facts of the shape of the demo's: accounts by number, titles by name. */
export interface Size {
  readonly accounts: number
  readonly titles: number
}

const accountsTable: FactTable = {
  name: 'accounts',
  key: 'u64',
  fields: [
    { name: 'affinities', dtype: 'f32', shape: [16] },
    { name: 'age', dtype: 'u8', shape: [] },
  ],
}

const texts = ['genre', 'creative_type', 'source', 'mpaa']
const numbers = ['year', 'runtime_min', 'budget', 'worldwide_gross', 'tomatoes', 'imdb_votes']

const titlesTable: FactTable = {
  name: 'titles',
  key: 'string',
  fields: [
    ...texts.map((name) => ({ name, dtype: 'string' as const, shape: [] })),
    ...numbers.map((name) => ({ name, dtype: 'f32' as const, shape: [] })),
  ],
}

const rowsAtOnce = 10_000

export const accountKey = (i: number): bigint => BigInt(i) * 7919n
export const titleKey = (i: number): string => `tt${1_000_000 + i}`

export async function fillStore(store: FactStore, size: Size, onProgress: (line: string) => void): Promise<void> {
  const affinities = new Float32Array(16)
  await fill(store, accountsTable, size.accounts, onProgress, (i) => {
    affinities[i % 16] = i
    return [accountKey(i), { affinities, age: i % 100 }]
  })
  await fill(store, titlesTable, size.titles, onProgress, (i) => [
    titleKey(i),
    {
      genre: `genre ${i % 12}`,
      creative_type: 'Contemporary Fiction',
      source: 'Original Screenplay',
      mpaa: 'PG-13',
      ...Object.fromEntries(numbers.map((name, n) => [name, i + n])),
    },
  ])
}

async function fill(
  store: FactStore,
  table: FactTable,
  rows: number,
  onProgress: (line: string) => void,
  rowOf: (i: number) => readonly [string | bigint, Record<string, string | number | Float32Array>],
): Promise<void> {
  await store.declare(table)
  const begun = performance.now()
  for (let begin = 0; begin < rows; begin += rowsAtOnce) {
    const end = Math.min(rows, begin + rowsAtOnce)
    await store.write(table.name, entries(begin, end, rowOf))
    if (end % 200_000 === 0 || end === rows) onProgress(`${table.name}: ${end} of ${rows} rows`)
  }
  onProgress(`${table.name}: ${Math.round(rows / ((performance.now() - begun) / 1000))} rows/s`)
}

function* entries<T>(begin: number, end: number, rowOf: (i: number) => T): Generator<T> {
  for (let i = begin; i < end; i++) yield rowOf(i)
}
