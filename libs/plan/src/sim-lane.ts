import type { LaneModel, QueueModel } from './lane-model'

const never = Infinity

/* The state of a simulated lane. Indexes stand for requests; what is often made is used again. */

/** What uses a CPU. At most one event of it is under way: that it wakes, or that it is done with its work. */
export class SimThread {
  busy = false
  /** CPU time left of what it does, as of `since`; microseconds. */
  left = 0
  since = 0
  /** Events with another stamp are of plans that changed. */
  stamp = 0
  waking = false
  /** Busy even while it waits: it looks for work all the time. */
  spins = false
  wakesUs = 0
  /** Batches: the first is run, the others wait at its door. Of pool threads only. */
  readonly held: SimBatch[] = []

  constructor(
    readonly index: number,
    readonly lane: SimLane,
    readonly role: 'front' | 'pool' | 'load',
  ) {}
}

export class SimBatch {
  rows = 0
  openedUs = 0
  readonly requests: number[] = []
  constructor(public queue: SimQueue) {}
}

export class SimQueue {
  open: SimBatch | null = null
  closed: SimBatch[] = []
  head = 0
  rowsWaiting = 0
  constructor(readonly model: QueueModel) {}

  /** When the batch that is next was opened; Infinity when there is none. */
  get oldestUs(): number {
    return this.head < this.closed.length ? this.closed[this.head]!.openedUs : (this.open?.openedUs ?? never)
  }

  take(): SimBatch {
    let batch = this.open!
    if (this.head < this.closed.length) {
      batch = this.closed[this.head++]!
      if (this.head === this.closed.length) {
        this.closed.length = 0
        this.head = 0
      }
    } else this.open = null
    this.rowsWaiting -= batch.rows
    return batch
  }
}

export class SimLane {
  readonly queues: readonly SimQueue[]
  front!: SimThread
  readonly pool: SimThread[] = []
  load: SimThread | null = null
  /** Every thread on its CPUs. */
  readonly threads: SimThread[] = []
  /** Share of a CPU that each busy thread has. */
  speed = 1
  running = 0
  /** Threads of others among them. */
  others = 0

  /** Requests that came and were not read; those that this turn reads. */
  arrivals: number[] = []
  turn: number[] = []
  /** Batches that came back; those that this turn answers; those that are being handed over. */
  done: SimBatch[] = []
  turnDone: SimBatch[] = []
  sending: SimBatch[] = []
  turns = 0
  /** Batches that its threads can take now. */
  free: number

  /** Of the load: requests that are due, replies that came; those of its turn. */
  due: number[] = []
  replies: number[] = []
  loadDue: number[] = []
  loadReplies: number[] = []

  up = true
  /** Place among the lanes that requests are sent to; -1: none are. */
  routed = -1
  /** Requests sent to it and not answered. */
  outstanding = 0

  constructor(
    readonly index: number,
    readonly model: LaneModel,
  ) {
    this.queues = model.queues.map((queue) => new SimQueue(queue))
    this.free = model.threads * model.inFlight
  }

  /** Forgets everything: the process is gone. */
  clear(): void {
    for (const queue of this.queues) {
      queue.open = null
      queue.closed.length = 0
      queue.head = 0
      queue.rowsWaiting = 0
    }
    for (const thread of this.threads) {
      thread.stamp++
      thread.busy = false
      thread.waking = false
      thread.held.length = 0
    }
    for (const list of [this.arrivals, this.turn, this.done, this.turnDone, this.sending]) list.length = 0
    this.turns = 0
    this.running = this.others
    this.outstanding = 0
    this.free = this.model.threads * this.model.inFlight
  }
}
