import { admit, type Batch, type BatchQueue } from '@millrace/batch'
import { heapBytesOf, type Intake, type Matched, type RequestView } from '@millrace/wire'
import { copyRequest } from './copy-request'

/** Rows of a request that go into one batch. */
export interface Part {
  rows: number
  /** Bytes of heap that their ragged values take. */
  heapBytes: number
}

/** The most rows from `from` on, `rows` at most, that one batch takes. One row may take more than there is. */
export function nextPart(
  view: RequestView,
  intake: Intake,
  matched: Matched,
  queue: BatchQueue,
  from: number,
  rows: number,
  part: Part,
): void {
  let n = Math.min(queue.layout.rowsMax, rows)
  let heapBytes = heapBytesOf(view, intake, matched, from, n)
  while (heapBytes > queue.heapBytesMax && n > 1) {
    n = n >>> 1
    heapBytes = heapBytesOf(view, intake, matched, from, n)
  }
  part.rows = n
  part.heapBytes = heapBytes
}

/**
 * Puts rows `from .. from + rows - 1` of a matched request into a batch that has room for them.
 *
 * @param owner what the batch says they belong to
 * @param traffic the class that the workflow sees
 * @param deadlineUs when nobody wants their answer any more
 */
export function placeRows(
  batch: Batch,
  owner: number,
  traffic: number,
  deadlineUs: number,
  view: RequestView,
  intake: Intake,
  matched: Matched,
  from: number,
  rows: number,
): void {
  const row = batch.rows
  const request = admit(batch, owner, rows, from, deadlineUs)
  batch.traffic |= 1 << traffic
  copyRequest(view, matched, intake, batch.queue.arena.bytes, batch, from, rows, row, request)
}
