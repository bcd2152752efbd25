import { createWriteStream, existsSync } from 'node:fs'
import { FieldRefusal, rowChecker, type FactStore, type FactTable, type FactValue } from '@millrace/facts'
import { Exit, paint, print, printJson, progress, UsageError } from '../output'
import { BadValue, convert } from './convert'
import { describeField, inferred, knownDeclaration, type Declaration } from './declaration'
import { openStore, type StoreOptions } from './open-store'
import { formatOf, formats, readRows, type Format, type SourceRow } from './source'

export interface LoadOptions extends StoreOptions {
  readonly key?: string
  readonly types?: string
  readonly format?: string
  readonly replace?: boolean
  readonly dryRun?: boolean
  readonly maxBad: string
  readonly badRows?: string
  readonly json?: boolean
}

interface BadRow {
  readonly row: number
  readonly column: string | null
  readonly value: unknown
  readonly why: string
}

type Entry = [key: string | bigint, record: Record<string, FactValue>]

const rowsInferredFrom = 10_000
const rowsAtOnce = 10_000
/** A file of which so many rows are wrong is not looked at further. */
const badRowsSeenMax = 100
const badRowsShown = 10

/**
 * Loads a file into a table, in two passes: the first one checks every row and writes nothing, so that a file with
 * more bad rows than allowed leaves everything as it was. Then rows are written, 10,000 together: over those with the
 * same keys, or with `replace` beside the table, whose place they take when all are there.
 */
export async function load(name: string, file: string, options: LoadOptions): Promise<number> {
  if (!existsSync(file)) throw new UsageError(`there is no file ${file}`)
  const badMax = Number(options.maxBad)
  if (!(Number.isInteger(badMax) && badMax >= 0)) throw new UsageError(`--max-bad ${options.maxBad} is no whole number`)
  if (options.format !== undefined && !formats.includes(options.format as Format))
    throw new UsageError(`--format ${options.format} is none of ${formats.join(', ')}`)
  const format = (options.format as Format | undefined) ?? formatOf(file)
  const { store, repository } = await openStore(options, options.dryRun === true)
  try {
    const head = await firstRows(file, format)
    const key = keyColumn(head, options.key)
    const known = await knownDeclaration(name, options.types, store, repository)
    const declaration = known ?? { table: inferred(name, key, head), from: `what ${file} holds` }
    checkColumns(declaration, head, key, file)
    say(
      `${name}: keys ${declaration.table.key} from column ${key}; ${declaration.table.fields.map(describeField).join(', ')}`,
    )
    say(`known from ${declaration.from}`)

    const begun = performance.now()
    const bad: BadRow[] = []
    const counted = await validate(file, format, declaration.table, key, bad, Math.max(badRowsSeenMax, badMax + 1))
    await writeBadRows(options.badRows, bad)
    const refused = bad.length > badMax
    let written = 0
    if (!refused && options.dryRun !== true && store !== null)
      written = await write(store, file, format, declaration.table, key, options.replace === true)
    const seconds = (performance.now() - begun) / 1000
    report(
      { name, rows: counted, bad, badMax, written, seconds, dryRun: options.dryRun === true },
      options.json === true,
    )
    return refused ? Exit.no : Exit.good
  } finally {
    await store?.close()
  }
}

async function firstRows(file: string, format: Format): Promise<SourceRow[]> {
  const head: SourceRow[] = []
  for await (const rows of readRows(file, format)) {
    head.push(...rows.slice(0, rowsInferredFrom - head.length))
    if (head.length >= rowsInferredFrom) break
  }
  if (!head.some(({ values }) => values !== null))
    throw new UsageError(`${file} has no rows${head[0]?.why === undefined ? '' : `: row ${head[0].at} ${head[0].why}`}`)
  return head
}

function keyColumn(head: readonly SourceRow[], wanted: string | undefined): string {
  const columns = [...new Set(head.flatMap(({ values }) => Object.keys(values ?? {})))]
  const key = wanted ?? ['id', 'key'].find((name) => columns.includes(name))
  if (key === undefined) throw new UsageError(`name the column of the keys with --key; there are ${columns.join(', ')}`)
  if (!columns.includes(key)) throw new UsageError(`there is no column ${key}; there are ${columns.join(', ')}`)
  return key
}

function checkColumns({ table, from }: Declaration, head: readonly SourceRow[], key: string, file: string): void {
  const columns = new Set(head.flatMap(({ values }) => Object.keys(values ?? {})))
  const missing = table.fields.filter(({ name }) => !columns.has(name)).map(({ name }) => name)
  if (missing.length > 0)
    throw new UsageError(
      `${file} has no column ${missing.join(', ')}, which table ${table.name} has (known from ${from}); ` +
        `it has ${[...columns].join(', ')}. Declare other types with --types FILE and --replace`,
    )
  const extra = [...columns].filter((column) => column !== key && !table.fields.some(({ name }) => name === column))
  if (extra.length > 0) say(`not loaded: column ${extra.join(', ')}`)
}

/** @returns rows that were looked at */
async function validate(
  file: string,
  format: Format,
  table: FactTable,
  key: string,
  bad: BadRow[],
  badStop: number,
): Promise<number> {
  const check = rowChecker(table)
  const tick = ticker('checked')
  let rows = 0
  for await (const batch of readRows(file, format)) {
    for (const row of batch) {
      rows++
      const wrong = problemOf(row, table, key, check)
      if (wrong !== null && bad.push(wrong) >= badStop) return rows
    }
    tick(rows)
  }
  return rows
}

function problemOf(row: SourceRow, table: FactTable, key: string, check: ReturnType<typeof rowChecker>): BadRow | null {
  const { at, values } = row
  if (values === null) return { row: at, column: null, value: null, why: row.why ?? 'cannot be read' }
  try {
    check(...convert(table, key, values))
    return null
  } catch (error) {
    if (error instanceof BadValue) return { row: at, column: error.column, value: error.value, why: error.why }
    if (error instanceof FieldRefusal)
      return { row: at, column: error.field, value: values[error.field], why: error.why }
    return { row: at, column: key, value: values[key], why: (error as Error).message }
  }
}

async function write(
  store: FactStore,
  file: string,
  format: Format,
  table: FactTable,
  key: string,
  replace: boolean,
): Promise<number> {
  const check = rowChecker(table)
  const tick = ticker('written')
  const replacement = replace ? await store.replace(table) : null
  if (replacement === null) await store.declare(table)
  const put = (entries: Entry[]): Promise<number> =>
    replacement === null ? store.write(table.name, entries) : replacement.write(entries)
  try {
    let written = 0
    let entries: Entry[] = []
    for await (const batch of readRows(file, format)) {
      for (const row of batch)
        if (problemOf(row, table, key, check) === null) entries.push(convert(table, key, row.values!))
      if (entries.length < rowsAtOnce) continue
      written += await put(entries)
      entries = []
      tick(written)
    }
    written += await put(entries)
    await replacement?.commit()
    return written
  } catch (error) {
    await replacement?.abandon().catch(() => undefined)
    throw error
  }
}

async function writeBadRows(file: string | undefined, bad: readonly BadRow[]): Promise<void> {
  if (file === undefined) return
  const out = createWriteStream(file)
  for (const row of bad) out.write(`${JSON.stringify(row, plain)}\n`)
  await new Promise<void>((resolve, reject) => out.on('error', reject).end(resolve))
}

interface Report {
  readonly name: string
  readonly rows: number
  readonly bad: readonly BadRow[]
  readonly badMax: number
  readonly written: number
  readonly seconds: number
  readonly dryRun: boolean
}

function report({ name, rows, bad, badMax, written, seconds, dryRun }: Report, json: boolean): void {
  const refused = bad.length > badMax
  if (json)
    return printJson({ table: name, rows, badRows: bad.length, written, seconds, bad: bad.slice(0, badRowsSeenMax) })
  for (const { row, column, value, why } of bad.slice(0, badRowsShown))
    print(
      `${paint('red', 'wrong')} row ${row}${column === null ? '' : `, column ${column}`}: ${why}` +
        `${column === null ? '' : ` (${JSON.stringify(value, plain)?.slice(0, 80) ?? 'nothing'})`}`,
    )
  if (bad.length > badRowsShown) print(`      and ${bad.length - badRowsShown} more; --bad-rows FILE writes them all`)
  if (refused)
    print(
      `nothing was loaded: ${bad.length} of ${rows} rows that were looked at are wrong, ${badMax} may be (--max-bad)`,
    )
  else if (dryRun) print(`${rows} rows, ${bad.length} of them wrong; nothing was written (--dry-run)`)
  else
    print(
      `${name}: ${written} rows loaded in ${seconds.toFixed(1)} s (${Math.round(written / seconds)} rows/s)` +
        `${bad.length > 0 ? `, ${bad.length} wrong ones left out` : ''}`,
    )
}

function plain(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function ticker(what: string): (rows: number) => void {
  const begun = performance.now()
  let last = begun
  return (rows) => {
    const now = performance.now()
    if (now - last < 1000) return
    last = now
    say(`${rows} rows ${what}, ${Math.round(rows / ((now - begun) / 1000))} rows/s`)
  }
}

const say = progress
