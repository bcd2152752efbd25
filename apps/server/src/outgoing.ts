import type { Clock } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import type { Caller } from './caller'
import { grown } from './tenant-counts'

/**
 * What came back in one turn of the event loop, by who asked: a caller's answers leave together, whichever batches they
 * were in. Where many versions have small batches each, a write for every one of them would cost more than the answers.
 *
 * Its columns stay: a table by caller, or arrays that begin anew with each turn, were a tenth of a lane's garbage over HTTP.
 */
export class Outgoing {
  private readonly batches: Batch[] = []
  private batchCount = 0
  private readonly callers: (Caller | null)[] = []
  private callerCount = 0
  /** By caller: its first run. */
  private firsts = new Int32Array(0)
  // Runs of requests of one batch that came from one caller: the batch's place, its requests `from .. to - 1`, the caller's
  // next run or -1.
  private batchOf = new Int32Array(0)
  private froms = new Int32Array(0)
  private tos = new Int32Array(0)
  private nexts = new Int32Array(0)
  private runCount = 0
  /** Of those whose callers are gone. */
  private lastOfNobody = -1
  private run = 0

  /**
   * @param callerOf by call
   * @param begin called before the answers of a turn
   * @param answer answers requests `from .. to - 1` of a batch, which are one caller's
   */
  constructor(
    private readonly callerOf: readonly (Caller | null)[],
    private readonly clock: Clock,
    private readonly begin: () => void,
    private readonly answer: (batch: Batch, from: number, to: number) => void,
  ) {}

  /** A batch ran: its requests are answered at the end of the turn, and its slab is free then. */
  add(batch: Batch): void {
    if (this.batchCount === 0) this.clock.defer(this.leave)
    this.batches[this.batchCount++] = batch
    for (let from = 0, to = 0; from < batch.requests; from = to) {
      const caller = this.callerOf[batch.call[from]!]!
      do to++
      while (to < batch.requests && this.callerOf[batch.call[to]!] === caller)
      this.addRun(caller, from, to)
    }
  }

  private addRun(caller: Caller | null, from: number, to: number): void {
    if (this.runCount === this.nexts.length) this.grow(Math.max(256, this.runCount * 2))
    const run = this.runCount++
    this.batchOf[run] = this.batchCount - 1
    this.froms[run] = from
    this.tos[run] = to
    this.nexts[run] = -1
    const last = caller === null ? this.lastOfNobody : caller.lastRun
    if (last >= 0) this.nexts[last] = run
    else {
      this.callers[this.callerCount] = caller
      this.firsts[this.callerCount++] = run
    }
    if (caller === null) this.lastOfNobody = run
    else caller.lastRun = run
  }

  private readonly leave = (): void => {
    this.begin()
    for (let c = 0; c < this.callerCount; c++) {
      const caller = this.callers[c]!
      this.callers[c] = null
      this.run = this.firsts[c]!
      if (caller !== null) caller.lastRun = -1
      if (caller === null || caller.closed) this.answerRuns()
      else caller.cork(this.answerRuns)
    }
    for (let b = 0; b < this.batchCount; b++) this.batches[b]!.queue.free(this.batches[b]!)
    this.batchCount = this.callerCount = this.runCount = 0
    this.lastOfNobody = -1
  }

  private readonly answerRuns = (): void => {
    for (let run = this.run; run >= 0; run = this.nexts[run]!)
      this.answer(this.batches[this.batchOf[run]!]!, this.froms[run]!, this.tos[run]!)
  }

  private grow(length: number): void {
    this.firsts = grown(this.firsts, length)
    this.batchOf = grown(this.batchOf, length)
    this.froms = grown(this.froms, length)
    this.tos = grown(this.tos, length)
    this.nexts = grown(this.nexts, length)
  }
}
