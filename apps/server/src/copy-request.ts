import type { Batch } from '@millrace/batch'
import { copyContext, copyInputs, type Intake, type Matched, type RequestView } from '@millrace/wire'

/**
 * The one copy of what a request brings: rows `from .. from + rows - 1` of its columns, and what its workflow reads of its
 * context, to their places in a batch, `row` and `request`.
 *
 * @param bytes of the arena
 */
export function copyRequest(
  view: RequestView,
  matched: Matched,
  intake: Intake,
  bytes: Uint8Array,
  batch: Batch,
  from: number,
  rows: number,
  row: number,
  request: number,
): void {
  const { offset, queue } = batch
  const { layout, words } = queue
  const heap = offset + layout.heap
  batch.heapUsed = copyInputs(
    view,
    intake,
    matched,
    bytes,
    words,
    offset,
    layout.inputs,
    from,
    rows,
    row,
    request,
    heap,
    batch.heapUsed,
  )
  const { context } = intake
  if (context === null) return
  batch.heapUsed = copyContext(
    view,
    context,
    matched,
    bytes,
    words,
    offset,
    layout.context,
    request,
    heap,
    batch.heapUsed,
  )
}
