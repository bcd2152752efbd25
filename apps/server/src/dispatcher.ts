import type { Clock } from '@millrace/base'
import { BulkTurn, isSmall, WaitingQueues, type Batch, type BatchQueue } from '@millrace/batch'
import type { Pool } from '@millrace/pool'
import type { RunTask } from '@millrace/worker'

/** A pool and the queues of the versions that are ready on it. */
export interface RoadPool {
  readonly pool: Pool
  readonly interactive: WaitingQueues
  readonly bulk: WaitingQueues
  /** Copies, for threads that nobody else wants. */
  readonly shadow: WaitingQueues
}

export function roadPool(pool: Pool): RoadPool {
  return { pool, interactive: new WaitingQueues(), bulk: new WaitingQueues(), shadow: new WaitingQueues() }
}

/** What becomes of batches. */
export interface BatchOwner {
  /** Its turn has come. False when nobody waits for it any more: its slab is free then. */
  taken(batch: Batch): boolean
  /** It ran: its slab has the answers. */
  ran(batch: Batch): void
  /** The thread that had it is gone, or broke in a way that is ours. */
  lost(batch: Batch, error: Error): void
}

/** Gives waiting batches to free threads, as soon as there are both: a thread never idles while a row waits. */
export class Dispatcher {
  /** Rows admitted and not given to a thread. */
  rowsWaiting = 0
  /** Batches that threads have. */
  readonly running: Batch[] = []
  private readonly turns: readonly BulkTurn[]
  private lingering = false

  /**
   * @param pools in the order in which they are offered work
   * @param again called a millisecond after rows were left waiting for company, the finest that timers have
   */
  constructor(
    private readonly pools: readonly RoadPool[],
    private readonly owner: BatchOwner,
    private readonly clock: Clock,
    private readonly again: () => void,
  ) {
    this.turns = pools.map(() => new BulkTurn())
  }

  dispatch(nowUs: number): void {
    if (this.rowsWaiting === 0) return
    let mayLinger = false
    for (let p = 0; p < this.pools.length; p++) {
      const { pool } = this.pools[p]!
      while (pool.free > 0 && this.runNext(p, nowUs));
      mayLinger ||= pool.free > 0
    }
    for (let p = 0; p < this.pools.length; p++) while (this.runShort(p, nowUs));
    // A thread is free and rows wait: their workflow wants company for them (`batchWaitUs`).
    if (this.rowsWaiting > 0 && mayLinger) this.linger()
  }

  /** Interactive before bulk, but for its turn; among them the batch that has waited longest. False when nothing waits. */
  private runNext(p: number, nowUs: number): boolean {
    const { interactive, bulk } = this.pools[p]!
    const bulkTurn = this.turns[p]!.isDue ? bulk.next(nowUs) : null
    const interactiveTurn = bulkTurn === null ? interactive.next(nowUs) : null
    const queue = bulkTurn ?? interactiveTurn ?? bulk.next(nowUs)
    if (queue === null) return false
    this.run(p, queue, interactiveTurn !== null, nowUs)
    return true
  }

  /**
   * Short batches go to a thread's door beside what it has, while all of it is done soon: of hundreds of versions, several in
   * one message. A version that has one under way gathers instead, or batches would be smaller for nothing. False when there
   * is none.
   */
  private runShort(p: number, nowUs: number): boolean {
    const { pool, interactive, bulk } = this.pools[p]!
    if (interactive.waiting.length === 0 || (this.turns[p]!.isDue && bulk.next(nowUs) !== null)) return false
    const queue = interactive.next(nowUs, hasNoneUnderWay)
    if (queue === null || queue.nextUs === 0 || !pool.hasRoom(queue.nextUs)) return false
    this.run(p, queue, true, nowUs)
    return true
  }

  private run(p: number, queue: BatchQueue, isInteractive: boolean, nowUs: number): void {
    const { pool, interactive } = this.pools[p]!
    const { nextUs } = queue
    const batch = queue.take(nowUs)
    this.rowsWaiting -= batch.rows
    if (!this.owner.taken(batch)) return
    this.countTurn(p, batch, isInteractive)
    batch.pool = p
    batch.queue.wait.turn(batch.openedUs, batch.takenUs)
    this.running.push(batch)
    pool.run(runTask(batch), nextUs, (error) => {
      this.running.splice(this.running.indexOf(batch), 1)
      if (error === null) this.owner.ran(batch)
      else this.owner.lost(batch, error)
    })
    if (isInteractive) interactive.pressed = false
  }

  private countTurn(p: number, { rows, queue }: Batch, isInteractive: boolean): void {
    const turn = this.turns[p]!
    if (!isInteractive) return turn.tookBulk()
    const small = isSmall(rows, queue.rowsLimit, queue.wait.fixedUs, queue.wait.rowUs)
    turn.tookInteractive(small, this.pools[p]!.interactive.pressed)
  }

  private linger(): void {
    if (this.lingering) return
    this.lingering = true
    this.clock.after(1, () => {
      this.lingering = false
      this.again()
    })
  }
}

function hasNoneUnderWay({ underWay }: BatchQueue): boolean {
  return underWay === 0
}

/** What the thread that takes the batch is told. */
export function runTask({ queue, offset, blockBytes }: Batch): RunTask {
  return { kind: 'run', version: queue.id, rowsMax: queue.layout.rowsMax, offset, blockBytes }
}
