import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'

/*
 * How batches get to a thread and back: a message port of their own, beside Piscina's tasks. A batch's answer is in its
 * slab, so that nothing comes back but its number. What is given within one step of the event loop leaves as one message,
 * and so do the numbers of what ended: waking a thread costs more than what it is told.
 */

/**
 * Batches that a thread has done within so many microseconds, and at most so many of them, are told of together. Waking
 * a thread costs some 20 us on either side, and answers that leave together share their writes.
 */
export const shortUsMax = 250
export const shortMost = 16

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
export interface Given {
  readonly number: number
  readonly message: unknown
  /** What it is expected to take, microseconds; 0: nobody knows. */
  readonly us: number
  readonly ended: Ended
}

/** The pool's side. */
export class Door {
  /** What the thread has, in the order in which it was given. */
  readonly given: Given[] = []
  /** What all of it is expected to take, microseconds. */
  dueUs = 0
  private readonly unsent: Numbered[] = []
  private unsentUs = 0
  private last = 0

  /** @param left called for each batch that ended, before whoever gave it is told */
  constructor(
    private readonly port: MessagePort,
    private readonly left: () => void,
  ) {
    port.on('message', (told: readonly Told[]) => this.hear(told))
  }

  give(message: unknown, us: number, ended: Ended): void {
    const number = ++this.last
    this.given.push({ number, message, us, ended })
    this.dueUs += us
    this.unsentUs += us > 0 ? us : Infinity
    if (this.unsent.push({ number, message }) === 1) void sent.then(this.send)
  }

  /** The thread is gone. What it told before is heard; what it still has failed with it. */
  close(error: Error): void {
    for (let got = receiveMessageOnPort(this.port); got !== undefined; got = receiveMessageOnPort(this.port))
      this.hear(got.message as readonly Told[])
    this.port.close()
    this.dueUs = 0
    for (const { ended } of this.given.splice(0)) {
      this.left()
      ended(error)
    }
  }

  private readonly send = (): void => {
    // A batch that could not be sent is one of ours that is no plain data.
    const group: Group = { batches: this.unsent, short: this.unsentUs <= shortUsMax }
    this.port.postMessage(group)
    this.unsent.length = 0
    this.unsentUs = 0
  }

  private hear(told: readonly Told[]): void {
    for (const one of told) {
      const number = typeof one === 'number' ? one : one.number
      // The first, but for threads that run several at a time.
      const at = this.given.findIndex((given) => given.number === number)
      const { us, ended } = this.given[at]!
      if (at === 0) this.given.shift()
      else this.given.splice(at, 1)
      // Sums of fractions leave crumbs.
      this.dueUs = this.given.length === 0 ? 0 : this.dueUs - us
      this.left()
      ended(typeof one === 'number' ? null : one.error)
    }
  }
}

/** Later in the same step of the event loop, without a promise for each. */
const sent = Promise.resolve()

/**
 * The thread's side.
 *
 * @param run resolves when the batch has run, its answer being where the message says
 */
export function openDoor({ port }: DoorTask, run: (message: unknown) => Promise<unknown>): void {
  const untold: Told[] = []
  const tell = (): void => {
    telling = false
    port.postMessage(untold)
    untold.length = 0
  }
  let telling = false
  port.on('message', ({ batches, short }: Group) => {
    let left = batches.length
    const ended = (one: Told): void => {
      untold.push(one)
      if ((--left > 0 && short) || telling) return
      telling = true
      void sent.then(tell)
    }
    for (const { number, message } of batches)
      run(message).then(
        () => ended(number),
        (error: unknown) => ended({ number, error: error instanceof Error ? error : new Error(String(error)) }),
      )
  })
}
