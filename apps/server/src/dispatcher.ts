import type { Clock } from '@millrace/base'
import { BulkTurn, isSmall, longestWaiting, type Batch, type BatchQueue } from '@millrace/batch'
import type { Pool } from '@millrace/pool'
import type { RunTask } from '@millrace/worker'

/** A pool and the queues of the versions that are ready on it. */
export interface RoadPool {
  readonly pool: Pool
  interactive: readonly BatchQueue[]
  bulk: readonly BatchQueue[]
  /** Copies, for threads that nobody else wants. */
  shadow: readonly BatchQueue[]
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

  /** Interactive before bulk, but for its turn; among them the batch that has waited longest. */
  dispatch(nowUs: number): void {
    if (this.rowsWaiting === 0) return
    let mayLinger = false
    for (let p = 0; p < this.pools.length; p++) {
      const { pool, interactive, bulk } = this.pools[p]!
      while (pool.free > 0) {
        const bulkTurn = this.turns[p]!.isDue ? next(bulk, nowUs) : null
        const interactiveTurn = bulkTurn === null ? next(interactive, nowUs) : null
        const queue = bulkTurn ?? interactiveTurn ?? next(bulk, nowUs)
        if (queue === null) break
        const batch = queue.take(nowUs)
        this.rowsWaiting -= batch.rows
        if (!this.owner.taken(batch)) continue
        this.countTurn(p, batch, interactiveTurn !== null)
        this.run(pool, p, batch)
        if (interactiveTurn !== null) for (const one of interactive) one.pressed = false
      }
      mayLinger ||= pool.free > 0
    }
    // A thread is free and rows wait: their workflow wants company for them (`batchWaitUs`).
    if (this.rowsWaiting > 0 && mayLinger) this.linger()
  }

  private countTurn(p: number, { rows, queue }: Batch, isInteractive: boolean): void {
    const turn = this.turns[p]!
    if (!isInteractive) return turn.tookBulk()
    const small = isSmall(rows, queue.rowsLimit, queue.wait.fixedUs, queue.wait.rowUs)
    turn.tookInteractive(small, isPressed(this.pools[p]!.interactive))
  }

  private run(pool: Pool, p: number, batch: Batch): void {
    batch.pool = p
    batch.queue.wait.turn(batch.openedUs, batch.takenUs)
    this.running.push(batch)
    pool.run(runTask(batch), (error) => {
      this.running.splice(this.running.indexOf(batch), 1)
      if (error === null) this.owner.ran(batch)
      else this.owner.lost(batch, error)
    })
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

function next(queues: readonly BatchQueue[], nowUs: number): BatchQueue | null {
  const q = longestWaiting(queues, nowUs)
  return q < 0 ? null : queues[q]!
}

/** Requests of these were refused for their wait, or late, since a batch of them went last. */
export function isPressed(queues: readonly BatchQueue[]): boolean {
  return queues.some(({ pressed }) => pressed)
}

/** What the thread that takes the batch is told. */
export function runTask({ queue, offset, blockBytes }: Batch): RunTask {
  return { kind: 'run', version: queue.id, rowsMax: queue.layout.rowsMax, offset, blockBytes }
}
