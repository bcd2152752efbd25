import { assert } from '@millrace/base'
import type { BatchQueue } from './queue'

/**
 * The queues of one priority that a pool serves, with those apart in which something waits: who is next is asked for every
 * batch, and of hundreds of versions most have nothing.
 */
export class WaitingQueues {
  /** Those with rows that were not taken, in no order. */
  readonly waiting: BatchQueue[] = []
  /** Somebody was refused because he would wait too long, or waited too long; whoever acts on it takes it back. */
  pressed = false
  private all: readonly BatchQueue[] = []

  /** From here on it has these. */
  serve(queues: readonly BatchQueue[]): void {
    for (const { servedBy } of this.all) servedBy.splice(servedBy.indexOf(this), 1)
    this.all = queues
    this.waiting.length = 0
    for (const queue of queues) {
      queue.servedBy.push(this)
      if (queue.rowsWaiting > 0) this.waiting.push(queue)
    }
  }

  /** Of a queue in which nothing waits any more. */
  leave(queue: BatchQueue): void {
    const at = this.waiting.indexOf(queue)
    assert(at >= 0, 'a queue with rows is in its lists')
    const last = this.waiting.pop()!
    if (last !== queue) this.waiting[at] = last
  }

  /** The queue whose oldest batch has waited longest, of those that `may`; null when none waits. A pure policy. */
  next(nowUs: number, may: (queue: BatchQueue) => boolean = always): BatchQueue | null {
    const { waiting } = this
    let best: BatchQueue | null = null
    let oldest = Infinity
    for (let q = 0; q < waiting.length; q++) {
      const at = waiting[q]!.oldestUs(nowUs)
      if (at < oldest && may(waiting[q]!)) {
        oldest = at
        best = waiting[q]!
      }
    }
    return best
  }
}

const always = (): boolean => true
