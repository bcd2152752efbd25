import type { Clock } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import type { Caller } from './caller'

/**
 * What came back in one turn of the event loop, by who asked: a caller's answers leave together, whichever batches they
 * were in. Where many versions have small batches each, a write for every one of them would cost more than the answers.
 */
export class Outgoing {
  private readonly batches: Batch[] = []
  private readonly callers: (Caller | null)[] = []
  /** By caller: its first run, a place in what follows; and while batches are added its last. */
  private readonly firsts: number[] = []
  private readonly lasts = new Map<Caller | null, number>()
  // Runs of requests of one batch that came from one caller.
  private readonly batchOf: Batch[] = []
  private readonly froms: number[] = []
  private readonly tos: number[] = []
  /** The caller's next run, or -1. */
  private readonly nexts: number[] = []
  private readonly lists: readonly unknown[][] = [
    this.batches,
    this.callers,
    this.firsts,
    this.batchOf,
    this.froms,
    this.tos,
    this.nexts,
  ]
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
    if (this.batches.push(batch) === 1) this.clock.defer(this.leave)
    for (let from = 0, to = 0; from < batch.requests; from = to) {
      const caller = this.callerOf[batch.call[from]!]!
      do to++
      while (to < batch.requests && this.callerOf[batch.call[to]!] === caller)
      this.addRun(caller, batch, from, to)
    }
  }

  private addRun(caller: Caller | null, batch: Batch, from: number, to: number): void {
    const run = this.batchOf.push(batch) - 1
    this.froms.push(from)
    this.tos.push(to)
    this.nexts.push(-1)
    const last = this.lasts.get(caller)
    if (last !== undefined) this.nexts[last] = run
    else {
      this.callers.push(caller)
      this.firsts.push(run)
    }
    this.lasts.set(caller, run)
  }

  private readonly leave = (): void => {
    this.begin()
    for (let c = 0; c < this.callers.length; c++) {
      const caller = this.callers[c]!
      this.run = this.firsts[c]!
      if (caller === null || caller.closed) this.answerRuns()
      else caller.cork(this.answerRuns)
    }
    for (const batch of this.batches) batch.queue.free(batch)
    this.lasts.clear()
    for (const list of this.lists) list.length = 0
  }

  private readonly answerRuns = (): void => {
    for (let run = this.run; run >= 0; run = this.nexts[run]!)
      this.answer(this.batchOf[run]!, this.froms[run]!, this.tos[run]!)
  }
}
