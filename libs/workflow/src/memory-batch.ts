import {
  denseArray,
  elementsPerRow,
  Strings,
  StringsWriter,
  type ColumnSpec,
  type DenseArray,
  type DenseDType,
  type HeapCursor,
  type Signature,
} from '@millrace/base'
import type { ColumnValues, RequestColumns } from './columns-json'
import type { BatchColumns } from '@millrace/batch'

/** Rows `begin .. end - 1` of one request: all of it, or what fitted into the batch. */
export interface Part {
  readonly request: RequestColumns
  readonly begin: number
  readonly end: number
}

/** Bytes that the string outputs of one batch in plain memory may take. */
const stringBytesMax = 16 * 1024 * 1024

/** A batch in plain memory: the columns of several requests, one after the other, and outputs to fill. */
export function memoryBatch(signature: Signature, parts: readonly Part[]): BatchColumns {
  const rows = parts.reduce((sum, part) => sum + part.end - part.begin, 0)
  const requestOf = new Uint32Array(rows)
  let at = 0
  parts.forEach((part, request) => {
    requestOf.fill(request, at, at + part.end - part.begin)
    at += part.end - part.begin
  })
  const lengthOf = (spec: ColumnSpec): number => (spec.per === 'row' ? rows : parts.length)
  const cursor: HeapCursor = { used: 0 }
  const heap = signature.outputs.some((spec) => spec.ragged) ? Buffer.allocUnsafe(stringBytesMax) : Buffer.alloc(0)
  return {
    rows,
    requests: parts.length,
    requestOf,
    cursor,
    inputs: Object.fromEntries(
      signature.inputs.map((spec) => [spec.name, gather(spec, parts, lengthOf(spec), inputsOf)]),
    ),
    context: Object.fromEntries(
      (signature.context ?? []).map((spec) => [spec.name, gather(spec, parts, parts.length, contextOf)]),
    ),
    outputs: Object.fromEntries(
      signature.outputs.map((spec) => {
        const n = lengthOf(spec)
        return [
          spec.name,
          spec.ragged
            ? new StringsWriter(new Uint32Array(2 * n), heap, n, cursor, spec.name)
            : denseArray(spec.dtype as DenseDType, n * elementsPerRow(spec)),
        ]
      }),
    ),
  }
}

/** Values `begin .. end - 1` of output columns, copied out of the batch. */
export function slice(
  specs: readonly ColumnSpec[],
  outputs: BatchColumns['outputs'],
  rows: Range,
  request: number,
): ColumnValues {
  return Object.fromEntries(
    specs.map((spec) => {
      const column = outputs[spec.name]!
      const [begin, end] = spec.per === 'row' ? [rows.begin, rows.end] : [request, request + 1]
      if ('spans' in column) return [spec.name, Strings.of(bytesOf(column.spans, column.heap, begin, end))]
      const width = elementsPerRow(spec)
      return [spec.name, column.slice(begin * width, end * width) as DenseArray]
    }),
  )
}

export interface Range {
  readonly begin: number
  readonly end: number
}

/** Values of the parts of one request, put together; of columns per request, the first part's. */
export function join(specs: readonly ColumnSpec[], parts: readonly ColumnValues[]): ColumnValues {
  if (parts.length === 1) return parts[0]!
  return Object.fromEntries(
    specs.map((spec) => {
      const columns = (spec.per === 'row' ? parts : parts.slice(0, 1)).map((part) => part[spec.name]!)
      if (spec.ragged)
        return [
          spec.name,
          Strings.of((columns as Strings[]).flatMap((column) => bytesOf(column.spans, column.heap, 0, column.length))),
        ]
      const dense = columns as Float32Array[]
      const out = denseArray(
        spec.dtype as DenseDType,
        dense.reduce((sum, column) => sum + column.length, 0),
      ) as Float32Array
      let at = 0
      for (const column of dense) {
        out.set(column, at)
        at += column.length
      }
      return [spec.name, out]
    }),
  )
}

const inputsOf = ({ request }: Part): ColumnValues => request.inputs
const contextOf = ({ request }: Part): ColumnValues => request.context!

function gather(
  spec: ColumnSpec,
  parts: readonly Part[],
  length: number,
  columnsOf: (part: Part) => ColumnValues,
): DenseArray | Strings {
  const rangeOf = (part: Part): readonly [number, number] => (spec.per === 'row' ? [part.begin, part.end] : [0, 1])
  if (spec.ragged)
    return Strings.of(
      parts.flatMap((part) => {
        const column = columnsOf(part)[spec.name] as Strings
        return bytesOf(column.spans, column.heap, ...rangeOf(part))
      }),
      spec.name,
    )
  const width = elementsPerRow(spec)
  const out = denseArray(spec.dtype as DenseDType, length * width) as Float32Array
  let at = 0
  for (const part of parts) {
    const [begin, end] = rangeOf(part)
    out.set((columnsOf(part)[spec.name] as Float32Array).subarray(begin * width, end * width), at)
    at += (end - begin) * width
  }
  return out
}

function bytesOf(spans: Uint32Array, heap: Buffer, begin: number, end: number): Buffer[] {
  const out: Buffer[] = []
  for (let i = begin; i < end; i++) out.push(heap.subarray(spans[2 * i]!, spans[2 * i]! + spans[2 * i + 1]!))
  return out
}
