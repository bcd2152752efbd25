import type { ColumnSpec } from '@millrace/base'
import { deadlineMost, Header, slabBytesPerRow, type Layout } from './layout'
import type { Batch } from './queue'

/*
 * Requests that nobody waits for any more do not run. Who they are is only known when a run begins: until then a batch
 * may wait at a thread's door. So the thread leaves them out, by moving the others together in the slab, and the front
 * thread follows when the batch is back.
 */

/**
 * The worker's half, before a closed slab is opened: leaves out the requests whose deadline is over or who were given up.
 * One comparison a request where there are none.
 */
export function leaveOutDead(memory: SharedArrayBuffer, layout: Layout, offset: number, nowUs: number): void {
  const header = new Uint32Array(memory, offset, 16)
  const requests = header[Header.requests]!
  const sinceUs = Math.min(deadlineMost - 1, nowUs - openedUsOf(memory, offset))
  const deadlines = new Uint32Array(memory, offset + layout.deadlines, requests)
  let dead = 0
  for (let r = 0; r < requests; r++) if (deadlines[r]! <= sinceUs) dead++
  if (dead > 0) keep(memory, layout, offset, header, (r) => deadlines[r]! > sinceUs)
}

/**
 * The front thread's half, when the batch is back: `batch` is then what ran, and `leftOut` was called with the call of
 * each request that did not.
 */
export function followLeftOut(batch: Batch, leftOut: (call: number) => void): void {
  const { queue, call, rowBegin, rowOfRequest } = batch
  const { words, layout } = queue
  const requests = words[(batch.offset >>> 2) + Header.requests]!
  if (requests === batch.requests) return
  const keptAt = (batch.offset + layout.kept) >>> 2
  let kept = 0
  let rows = 0
  for (let r = 0; r < batch.requests; r++) {
    if (kept === requests || words[keptAt + kept] !== r) {
      leftOut(call[r]!)
      continue
    }
    const n = rowBegin[r + 1]! - rowBegin[r]!
    call[kept] = call[r]!
    rowOfRequest[kept] = rowOfRequest[r]!
    rowBegin[kept++] = rows
    rows += n
  }
  rowBegin[kept] = rows
  batch.requests = requests
  batch.rows = rows
}

function openedUsOf(memory: SharedArrayBuffer, offset: number): number {
  return new Float64Array(memory, offset + 4 * Header.openedUs, 1)[0]!
}

/** Moves the requests that live together, with their rows, in their order. Strings stay where they are in the heap. */
function keep(
  memory: SharedArrayBuffer,
  layout: Layout,
  offset: number,
  header: Uint32Array,
  lives: (request: number) => boolean,
): void {
  const rows = header[Header.rows]!
  const requestOf = new Uint32Array(memory, offset + layout.requestOf, rows)
  const kept = new Uint32Array(memory, offset + layout.kept, header[Header.requests]!)
  const move = mover(memory, layout, offset)
  let requests = 0
  let to = 0
  for (let row = 0; row < rows; ) {
    const request = requestOf[row]!
    const begin = row
    while (row < rows && requestOf[row] === request) row++
    if (!lives(request)) continue
    move(request, requests, begin, to, row - begin)
    requestOf.fill(requests, to, to + row - begin)
    kept[requests++] = request
    to += row - begin
  }
  header[Header.rows] = to
  header[Header.requests] = requests
}

/** Moves one request and its rows to an earlier place. */
function mover(
  memory: SharedArrayBuffer,
  { signature, inputs, context }: Layout,
  offset: number,
): (request: number, toRequest: number, row: number, toRow: number, rows: number) => void {
  const bytes = new Uint8Array(memory)
  const columns = [
    ...signature.inputs.map((column, c) => ({ ...placeOf(column), begin: offset + inputs[c]! })),
    ...(signature.context ?? []).map((column, c) => ({ ...placeOf(column), begin: offset + context[c]! })),
  ]
  return (request, toRequest, row, toRow, rows) => {
    for (const { begin, width, perRow } of columns) {
      const from = begin + width * (perRow ? row : request)
      const to = begin + width * (perRow ? toRow : toRequest)
      if (from !== to) bytes.copyWithin(to, from, from + width * (perRow ? rows : 1))
    }
  }
}

function placeOf(column: ColumnSpec): { readonly width: number; readonly perRow: boolean } {
  return { width: slabBytesPerRow(column), perRow: column.per === 'row' }
}
