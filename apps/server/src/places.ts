import { Code } from '@millrace/base'
import type { BatchQueue } from '@millrace/batch'
import type { Matched, RequestView } from '@millrace/wire'
import type { Answers } from './answers'
import type { Calls } from './calls'
import type { Dispatcher } from './dispatcher'
import { nextPart, placeRows, type Part } from './place-rows'
import { arenaFull, rowTooLarge } from './refusals'
import type { ServedVersion } from './served-version'
import type { Shadows } from './shadow/shadows'

/** Places in batches for the rows of the request that the view holds and that was matched. */
export class Places {
  private readonly part: Part = { rows: 0, heapBytes: 0 }

  constructor(
    private readonly view: RequestView,
    private readonly matched: Matched,
    private readonly calls: Calls,
    private readonly answers: Answers,
    private readonly shadows: Shadows,
    private readonly dispatcher: Dispatcher,
    private readonly arenaBytes: number,
  ) {}

  /** Copies the rows of a call to places of their own; where there are none it is refused: then false. */
  take(call: number, version: ServedVersion, queue: BatchQueue, now: number): boolean {
    const { rows, heapBytes } = this.matched
    return (
      (rows <= queue.layout.rowsMax && this.takePart(call, version, queue, 0, rows, heapBytes, now)) ||
      this.takeParts(call, version, queue, rows, now)
    )
  }

  /** Places for rows `from .. from + rows - 1`, in one batch; false when they do not fit, and nothing is changed then. */
  private takePart(
    call: number,
    version: ServedVersion,
    queue: BatchQueue,
    from: number,
    rows: number,
    heapBytes: number,
    now: number,
  ): boolean {
    if (heapBytes > queue.heapBytesMax) return false
    let batch = queue.room(rows, heapBytes, now)
    // What copies hold is given up before a request is refused.
    if (batch === null && this.shadows.giveWay()) batch = queue.room(rows, heapBytes, now)
    if (batch === null) return false
    const { view, matched, calls } = this
    placeRows(batch, call, calls.traffic[call]!, calls.deadlineUs[call]!, view, version.intake, matched, from, rows)
    calls.parts[call]!++
    this.dispatcher.rowsWaiting += rows
    return true
  }

  /** A request that one batch does not take, over as many as it needs: answered once, whole, or refused: then false. */
  private takeParts(call: number, version: ServedVersion, queue: BatchQueue, rows: number, now: number): boolean {
    const { view, matched, answers, part } = this
    for (let from = 0; from < rows; from += part.rows) {
      nextPart(view, version.intake, matched, queue, from, rows - from, part)
      const { heapBytes } = part
      if (this.takePart(call, version, queue, from, part.rows, heapBytes, now)) continue
      // Parts that are in already run for nobody: the call is answered, and freed when they are back.
      if (heapBytes > queue.heapBytesMax)
        answers.fail(call, Code.INVALID_ARGUMENT, rowTooLarge(from, heapBytes, queue.heapBytesMax))
      else answers.fail(call, Code.RESOURCE_EXHAUSTED, arenaFull(this.arenaBytes))
      return false
    }
    return true
  }
}
