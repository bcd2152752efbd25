import { strict as assert } from 'node:assert'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom, Strings, type DenseArray } from '@millrace/base'
import { openLmdb, type FactKeys, type LmdbStore } from '@millrace/facts'
import { figure, median, table } from '../report'
import { accountKey, fillStore, titleKey, type Size } from './store'

export interface FactsResult {
  readonly name: string
  /** CPU of this process for each key, median of the rounds, by way of reading. */
  readonly ns: Readonly<Record<Way, number>>
  /** Of what was read: a wrong read is not fast. */
  readonly checksum: number
}

/** `kept`: as served, rows are kept between batches. `sorted`: the same keys, sorted beforehand. */
const ways = ['kept', 'batch', 'batch, sorted'] as const
type Way = (typeof ways)[number]

interface Load {
  readonly name: string
  readonly table: string
  /** Key number `i` of the table, by chance. */
  readonly next: (random: () => number, size: Size) => number
}

const uniform = (random: () => number, rows: number): number => Math.floor(random() * rows)
/** Rank by chance as 1 / rank; ranks that follow each other lie far apart in the store (7919 does not divide it). */
const zipf = (random: () => number, rows: number): number =>
  (Math.floor(Math.exp(random() * Math.log(rows))) * 7919) % rows

const loads: readonly Load[] = [
  { name: 'accounts, uniform', table: 'accounts', next: (random, { accounts }) => uniform(random, accounts) },
  { name: 'titles, uniform', table: 'titles', next: (random, { titles }) => uniform(random, titles) },
  { name: 'titles, as 1/rank', table: 'titles', next: (random, { titles }) => zipf(random, titles) },
]

const batchRows = 512

/** Batched reads of a store that is larger than the CPU's caches, after each of its pages was touched. */
export async function benchFacts(
  { smoke, rounds }: { smoke: boolean; rounds: number },
  onProgress: (line: string) => void,
): Promise<FactsResult[]> {
  const size: Size = smoke ? { accounts: 2_000, titles: 500 } : { accounts: 1_000_000, titles: 100_000 }
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-facts-'))
  try {
    const writer = openLmdb(folder, { readOnly: false })
    await fillStore(writer, size, onProgress)
    await writer.close()
    onProgress(`${figure(statSync(join(folder, 'data.mdb')).size / 2 ** 20)} MiB`)
    const results: FactsResult[] = []
    for (const load of loads) results.push(await time(folder, load, size, smoke ? 5 : 1_500, rounds))
    return results
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function time(folder: string, load: Load, size: Size, batches: number, rounds: number): Promise<FactsResult> {
  const random = seededRandom(7)
  const numbers = Array.from({ length: batches }, () =>
    Array.from({ length: batchRows }, () => load.next(random, size)),
  )
  const keys = numbers.map((batch) => keysOf(load.table, batch, false))
  const sorted = numbers.map((batch) => keysOf(load.table, batch, true))
  const spent: Record<Way, number[]> = { kept: [], batch: [], 'batch, sorted': [] }
  let checksum = 0
  // The first round brings pages into memory and is not counted.
  for (let round = 0; round <= rounds; round++)
    for (const way of ways) {
      const store = openLmdb(folder, { readOnly: true, ...(way === 'kept' ? {} : { cacheBytesMax: 0 }) })
      const begun = process.cpuUsage()
      const sum = readAll(store, load.table, way === 'batch, sorted' ? sorted : keys)
      const { user, system } = process.cpuUsage(begun)
      assert(round === 0 ? way === 'kept' || sum === checksum : sum === checksum, `${load.name}: reads differ`)
      checksum = sum
      if (round > 0) spent[way].push(((user + system) * 1000) / (batches * batchRows))
      await store.close()
    }
  const ns = Object.fromEntries(ways.map((way) => [way, median(spent[way])])) as Record<Way, number>
  return { name: load.name, ns, checksum }
}

function readAll(store: LmdbStore, name: string, batches: readonly FactKeys[]): number {
  let sum = 0
  for (const keys of batches) {
    const rows = store.read(name, keys)
    const { found } = rows
    const column = rows.column(name === 'titles' ? 'year' : 'age') as DenseArray
    for (let i = 0; i < found.length; i++) sum += found[i]! * Number(column[i]!)
  }
  return sum
}

function keysOf(name: string, batch: readonly number[], sorted: boolean): FactKeys {
  if (name === 'titles') {
    const keys = batch.map(titleKey)
    return Strings.of(sorted ? keys.sort() : keys)
  }
  const keys = BigUint64Array.from(batch, accountKey)
  return sorted ? keys.sort() : keys
}

export function factsTable(results: readonly FactsResult[]): string {
  return table([
    ['keys', ...ways.map((way) => `${way}, ns a key`), 'checksum'],
    ...results.map(({ name, ns, checksum }) => [name, ...ways.map((way) => ns[way]), String(checksum)]),
  ])
}
