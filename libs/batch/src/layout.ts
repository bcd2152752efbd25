import {
  assert,
  bytesPerRow,
  denseView,
  isRaggedDType,
  Strings,
  StringsWriter,
  type ColumnSpec,
  type DenseArray,
  type DenseDType,
  type HeapCursor,
  type Signature,
} from '@millrace/base'

/*
 * A slab is the block of shared memory that one batch lives in, from admission to reply.
 *
 *   | header | requestOf | deadlines | kept  | codes | messages | inputs ... | context ... | outputs ... | heap -> |
 *     16 u32   u32 x rows  u32 x rows  u32 x   u32 x   2 u32 x    dense: rows x bytesPerRow, 8-aligned     bytes of
 *                                      rows    rows    rows       ragged: [begin, length] u32 pairs        all ragged
 *
 * The front thread writes header, requestOf, deadlines, inputs and context and passes the slab on; the worker writes
 * kept, codes, messages, outputs and the timings, and passes it back. Never both at once, so nothing here is atomic; but
 * for deadlines, which the front thread may set to 0 meanwhile: a look that is too early costs a row that is scored in vain.
 */

/** Indexes of the header's u32 words. */
export const Header = {
  /** Rows in the batch. */
  rows: 0,
  /** Requests (or parts of requests) in the batch. */
  requests: 1,
  /** Bytes of the heap in use. */
  heapUsed: 2,
  /** Written by the worker, microseconds. */
  factsUs: 3,
  scoreUs: 4,
  runUs: 5,
  /** 1 when any request of the batch was refused by the worker: `codes` is worth reading. */
  refused: 6,
  /** Rows of the version that the thread runs at once, where memory bounds them; else 0. */
  rowsFit: 7,
  /** Times that the batch, or a part of it, did not fit the memory. */
  tooLarge: 8,
  /** Bits of the traffic classes (`Traffic`) of its requests. */
  traffic: 9,
  /** When the batch was opened, `nowUs`, an f64 in two words. */
  openedUs: 10,
} as const

const headerBytes = 64

/** Microseconds from a batch's opening to deadlines that are further away than a u32 can say. */
export const deadlineMost = 2 ** 32 - 1

/** Where everything of a slab is, in bytes from its begin. Same numbers on both threads, computed from the same plain data. */
export interface Layout {
  readonly signature: Signature
  /** Rows (and so requests) that the columns have room for. */
  readonly rowsMax: number
  readonly requestOf: number
  /** By request: microseconds from the batch's opening to when nobody wants the answer any more; 0: nobody does. */
  readonly deadlines: number
  /** By request that ran: its index in the batch as it was closed. Only where some did not. */
  readonly kept: number
  readonly codes: number
  readonly messages: number
  readonly inputs: Int32Array
  readonly context: Int32Array
  readonly outputs: Int32Array
  /** Begin of the heap; it ends where the block ends. */
  readonly heap: number
}

export function layoutSlab(signature: Signature, rowsMax: number): Layout {
  let at = headerBytes
  const place = (bytes: number): number => {
    const begin = at
    at = align8(at + bytes)
    return begin
  }
  const requestOf = place(4 * rowsMax)
  const deadlines = place(4 * rowsMax)
  const kept = place(4 * rowsMax)
  const codes = place(4 * rowsMax)
  const messages = place(8 * rowsMax)
  const places = (columns: readonly ColumnSpec[]): Int32Array =>
    Int32Array.from(columns, (column) => place(rowsMax * slabBytesPerRow(column)))
  const inputs = places(signature.inputs)
  const context = places(signature.context ?? [])
  const outputs = places(signature.outputs)
  return { signature, rowsMax, requestOf, deadlines, kept, codes, messages, inputs, context, outputs, heap: at }
}

/** Bytes of one row in a column's own place: the values when dense, begin and length when ragged. */
export function slabBytesPerRow(column: ColumnSpec): number {
  return column.ragged ? 8 : bytesPerRow(column)
}

/** A batch as workflow code sees it: typed arrays over a slab, or over plain memory when it runs offline. */
export interface BatchColumns {
  readonly rows: number
  readonly requests: number
  /** For each row, the request it belongs to: the index into `per: 'request'` columns. */
  readonly requestOf: Uint32Array
  readonly inputs: Readonly<Record<string, DenseArray | Strings>>
  /** Attributes of the context, one value for each request. */
  readonly context: Readonly<Record<string, DenseArray | Strings>>
  readonly outputs: Readonly<Record<string, DenseArray | StringsWriter>>
  /** Where the bytes of ragged outputs go. */
  readonly cursor: HeapCursor
}

/** The worker's view of a closed slab: `blockBytes` bytes at `offset` of the arena's memory. */
export function openSlab(
  memory: SharedArrayBuffer,
  layout: Layout,
  offset: number,
  blockBytes: number,
): BatchColumns & {
  readonly header: Uint32Array
  readonly codes: Uint32Array
  readonly messages: StringsWriter
} {
  const header = new Uint32Array(memory, offset, headerBytes / 4)
  const rows = header[Header.rows]!
  const requests = header[Header.requests]!
  assert(rows <= layout.rowsMax && requests <= rows, `slab of ${rows} rows, ${requests} requests`)
  const heap = Buffer.from(memory as unknown as ArrayBuffer, offset + layout.heap, blockBytes - layout.heap)
  const cursor: HeapCursor = { used: header[Header.heapUsed]! }
  const open = (columns: readonly ColumnSpec[], places: Int32Array): Record<string, DenseArray | Strings> => {
    const opened: Record<string, DenseArray | Strings> = {}
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c]!
      const n = column.per === 'row' ? rows : requests
      const begin = offset + places[c]!
      opened[column.name] = column.ragged
        ? new Strings(new Uint32Array(memory, begin, 2 * n), heap, n, column.name)
        : denseView(column.dtype as DenseDType, memory, begin, n * elements(column))
    }
    return opened
  }
  const { signature } = layout
  const inputs = open(signature.inputs, layout.inputs)
  const context = signature.context === undefined ? noColumns : open(signature.context, layout.context)
  const outputs: Record<string, DenseArray | StringsWriter> = {}
  signature.outputs.forEach((column, c) => {
    const n = column.per === 'row' ? rows : requests
    const begin = offset + layout.outputs[c]!
    if (!column.ragged) {
      outputs[column.name] = denseView(column.dtype as DenseDType, memory, begin, n * elements(column))
      return
    }
    assert(isRaggedDType(column.dtype), 'ragged outputs are strings or bytes')
    const spans = new Uint32Array(memory, begin, 2 * n)
    spans.fill(0)
    outputs[column.name] = new StringsWriter(spans, heap, n, cursor, column.name)
  })
  return {
    header,
    rows,
    requests,
    requestOf: new Uint32Array(memory, offset + layout.requestOf, rows),
    codes: new Uint32Array(memory, offset + layout.codes, requests),
    messages: new StringsWriter(
      new Uint32Array(memory, offset + layout.messages, 2 * requests),
      heap,
      requests,
      cursor,
    ),
    inputs,
    context,
    outputs,
    cursor,
  }
}

const noColumns: BatchColumns['context'] = Object.freeze({})

function elements(column: ColumnSpec): number {
  return column.shape.reduce((product, n) => product * n, 1)
}

function align8(n: number): number {
  return (n + 7) & ~7
}
