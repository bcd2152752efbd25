import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'

/*
 * How batches get to a thread and back: a message port of their own, beside Piscina's tasks. A batch's answer is in its
 * slab, so that nothing comes back but its number. What is given within one step of the event loop leaves as one message:
 * waking a thread costs more than what it is told.
 */

/**
 * Batches that a thread has done within so many microseconds, and at most so many of them, are told of together. Waking
 * a thread costs some 20 us on either side, and answers that leave together share their writes.
 */
const shortUsMax = 250
const shortMost = 16

/** What a thread is asked once, before its first batch: from here on batches come through `port`. */
export interface DoorTask {
  readonly kind: 'door'
  readonly port: MessagePort
}

interface Numbered {
  readonly number: number
  readonly message: unknown
}

/** What was given within one step. */
interface Group {
  readonly batches: readonly Numbered[]
  /** All of it is done soon: it is told of when the last one ended. */
  readonly short: boolean
}

/** One that ended: its number, and what went wrong where something did. */
type Told = number | { readonly number: number; readonly error: Error }

/** Called once for each batch: null when it ran. */
export type Ended = (error: Error | null) => void

/** A batch that a thread has. */
interface Given {
  readonly number: number
  readonly message: unknown
  readonly us: number
  readonly ended: Ended
}

/** The pool's side. */
export class Door {
  /** What all that the thread has is expected to take, microseconds. */
  dueUs = 0
  /** Batches that ended, of all that it ever had. */
  heard = 0
  /** What the thread has, in the order in which it was given. */
  private readonly given: Given[] = []
  private readonly unsent: Numbered[] = []
  private unsentUs = 0
  private last = 0
  /** When what is first in `given` became that, milliseconds. */
  private firstMs = 0

  /** @param left called for each batch that ended, before whoever gave it is told */
  constructor(
    private readonly port: MessagePort,
    private readonly left: () => void,
  ) {
    port.on('message', (told: readonly Told[]) => this.hear(told))
    // A pool that has nothing to do keeps no process alive.
    port.unref()
  }

  /** @param us what it is expected to take, microseconds; 0: nobody knows, and it is not taken for short */
  give(message: unknown, us: number, ended: Ended): void {
    const number = ++this.last
    const expectedUs = us || shortUsMax + 1
    if (this.given.push({ number, message, us: expectedUs, ended }) === 1) {
      this.firstMs = performance.now()
      this.port.ref()
    }
    this.dueUs += expectedUs
    this.unsentUs += expectedUs
    if (this.unsent.push({ number, message }) === 1) void soon.then(this.send)
  }

  /** What the thread has and a batch of so many microseconds are all done soon; not where one takes longer than all should. */
  takesShort(us: number): boolean {
    const { given } = this
    if (given.length === 0) return us <= shortUsMax
    if (given.length >= shortMost || this.dueUs + us > shortUsMax) return false
    return performance.now() - this.firstMs <= shortUsMax / 1000
  }

  /** What was given after `ran` others, of all that it ever had; undefined where that has ended. */
  messageAfter(ran: number): unknown {
    return this.given[ran - this.heard]?.message
  }

  /** The thread is gone. What it told before is heard; what it still has failed with it. */
  close(error: Error): void {
    for (let got = receiveMessageOnPort(this.port); got !== undefined; got = receiveMessageOnPort(this.port))
      this.hear(got.message as readonly Told[])
    this.port.close()
    this.dueUs = 0
    const failed = this.given.splice(0)
    for (let i = 0; i < failed.length; i++) this.left()
    for (const { ended } of failed) ended(error)
  }

  private readonly send = (): void => {
    const group: Group = { batches: this.unsent, short: this.unsentUs <= shortUsMax }
    // Throws, which ends the process, where a batch is no plain data: that is a bug of whoever gives it.
    this.port.postMessage(group)
    this.unsent.length = 0
    this.unsentUs = 0
  }

  /** All places are free before anybody is told, who may want one. */
  private hear(told: readonly Told[]): void {
    const { given } = this
    const ended = told.map((one) => {
      const number = typeof one === 'number' ? one : one.number
      // The first, but for threads that run several at a time.
      const at = given.findIndex((batch) => batch.number === number)
      const [batch] = given.splice(at, 1)
      this.dueUs -= batch!.us
      this.left()
      return batch!.ended
    })
    this.heard += told.length
    this.firstMs = performance.now()
    if (given.length === 0) {
      // Sums of fractions leave crumbs.
      this.dueUs = 0
      this.port.unref()
    }
    told.forEach((one, i) => ended[i]!(typeof one === 'number' ? null : one.error))
  }
}

/** Later in the same step of the event loop, without a promise for each. */
const soon = Promise.resolve()

/**
 * The thread's side. Short batches that came together are told of when the last one has run, or as soon as the thread waits
 * for something.
 *
 * @param run resolves when the batch has run, its answer being where the message says
 */
export function openDoor({ port }: DoorTask, run: (message: unknown) => Promise<unknown>): void {
  const untold: Told[] = []
  let telling = false
  const tell = (): void => {
    telling = false
    if (untold.length === 0) return
    port.postMessage(untold)
    untold.length = 0
  }
  port.on('message', ({ batches, short }: Group) => {
    let running = batches.length
    const ended = (one: Told): void => {
      untold.push(one)
      // At once, not in a promise: the next batch may begin before that, and not come back for long.
      if (--running === 0 || !short) return tell()
      if (!telling) setImmediate(tell)
      telling = true
    }
    for (const { number, message } of batches)
      run(message).then(
        () => ended(number),
        (error: unknown) => ended({ number, error: error instanceof Error ? error : new Error(String(error)) }),
      )
  })
}
