import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { parse } from 'csv-parse'
import { UsageError } from '../output'

export const formats = ['csv', 'ndjson', 'parquet'] as const
export type Format = (typeof formats)[number]

/** A row of a file: fields by name, or why there are none. */
export interface SourceRow {
  /** Line of a text file, row of a Parquet file; from 1. */
  readonly at: number
  readonly values: Readonly<Record<string, unknown>> | null
  readonly why?: string
}

/** By the file's name: `.csv`, `.tsv`, `.ndjson`, `.jsonl` or `.parquet`; the first ones also with `.gz`. */
export function formatOf(file: string): Format {
  const extension = /\.([a-z]+)(\.gz)?$/i.exec(file)?.[1]?.toLowerCase() ?? ''
  const format = { csv: 'csv', tsv: 'csv', ndjson: 'ndjson', jsonl: 'ndjson', parquet: 'parquet' }[extension]
  if (format === undefined) throw new UsageError(`${file}: name its format with --format ${formats.join('|')}`)
  return format as Format
}

/** The rows of a file, in order, some thousands at a time at most. Throws where the file itself is broken. */
export async function* readRows(file: string, format: Format): AsyncGenerator<SourceRow[]> {
  if (format === 'parquet') return yield* parquet(file)
  const raw = createReadStream(file)
  const gunzip = file.endsWith('.gz') ? createGunzip() : null
  const text: Readable = gunzip === null ? raw : raw.pipe(gunzip)
  // `pipe` hands no errors on.
  raw.on('error', (error) => text.destroy(error))
  yield* inBatches(format === 'csv' ? csv(file, text) : ndjson(text))
}

async function* csv(file: string, text: Readable): AsyncGenerator<SourceRow> {
  const delimiter = /\.tsv(\.gz)?$/.test(file) ? '\t' : ','
  const parser = parse({ columns: true, bom: true, info: true, relax_column_count: true, delimiter })
  text.on('error', (error) => parser.destroy(error))
  text.pipe(parser)
  let width = 0
  for await (const one of parser) {
    const { record, info } = one as { record: Record<string, string>; info: { lines: number; columns: unknown[] } }
    width ||= info.columns.length
    const cells = Object.keys(record).length
    yield cells === width
      ? { at: info.lines, values: record }
      : { at: info.lines, values: null, why: `has ${cells} of ${width} columns` }
  }
}

async function* ndjson(text: Readable): AsyncGenerator<SourceRow> {
  const lines = createInterface({ input: text, crlfDelay: Infinity })
  text.on('error', (error) => lines.emit('error', error))
  let at = 0
  for await (const line of lines) {
    at++
    if (line.trim() === '') continue
    yield jsonRow(at, line)
  }
  if (text.errored !== null) throw text.errored
}

function jsonRow(at: number, line: string): SourceRow {
  try {
    const values = JSON.parse(line) as unknown
    if (typeof values === 'object' && values !== null && !Array.isArray(values))
      return { at, values: values as Record<string, unknown> }
    return { at, values: null, why: 'is no JSON object' }
  } catch (error) {
    return { at, values: null, why: (error as Error).message }
  }
}

async function* parquet(file: string): AsyncGenerator<SourceRow[]> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import('hyparquet')
  const { compressors } = await import('hyparquet-compressors')
  const buffer = await asyncBufferFromFile(file)
  const metadata = await parquetMetadataAsync(buffer)
  let rowStart = 0
  // A row group at a time: it is decoded as a whole.
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows)
    const rows = await parquetReadObjects({ file: buffer, metadata, compressors, rowStart, rowEnd })
    const begin = rowStart
    yield rows.map((values, i) => ({ at: begin + i + 1, values }))
    rowStart = rowEnd
  }
}

async function* inBatches(rows: AsyncIterable<SourceRow>): AsyncGenerator<SourceRow[]> {
  let batch: SourceRow[] = []
  for await (const row of rows) {
    if (batch.push(row) < 5_000) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
