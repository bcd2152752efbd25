import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'

/*
 * How batches get to a thread and back: a message port of their own, beside Piscina's tasks. A batch's answer is in its
 * slab, so that nothing comes back but its number. What is given within one step of the event loop leaves as one message,
 * and so do the numbers of what ended: waking a thread costs more than what it is told.
 */

/** What a thread is asked once, before its first batch: from here on batches come through `port`. */
export interface DoorTask {
  readonly kind: 'door'
  readonly port: MessagePort
}

interface Numbered {
  readonly number: number
  readonly message: unknown
}

/** One that ended: its number, and what went wrong where something did. */
type Told = number | { readonly number: number; readonly error: Error }

/** Called once for each batch: null when it ran. */
export type Ended = (error: Error | null) => void

/** A batch that a thread has. */
export interface Given {
  readonly number: number
  readonly message: unknown
  readonly ended: Ended
}

/** The pool's side. */
export class Door {
  /** What the thread has, in the order in which it was given. */
  readonly given: Given[] = []
  private readonly unsent: Numbered[] = []
  private last = 0

  /** @param left called for each batch that ended, before whoever gave it is told */
  constructor(
    private readonly port: MessagePort,
    private readonly left: () => void,
  ) {
    port.on('message', (told: readonly Told[]) => this.hear(told))
  }

  give(message: unknown, ended: Ended): void {
    const number = ++this.last
    this.given.push({ number, message, ended })
    if (this.unsent.push({ number, message }) === 1) void sent.then(this.send)
  }

  /** The thread is gone. What it told before is heard; what it still has failed with it. */
  close(error: Error): void {
    for (let got = receiveMessageOnPort(this.port); got !== undefined; got = receiveMessageOnPort(this.port))
      this.hear(got.message as readonly Told[])
    this.port.close()
    for (const { ended } of this.given.splice(0)) {
      this.left()
      ended(error)
    }
  }

  private readonly send = (): void => {
    // A batch that could not be sent is one of ours that is no plain data.
    this.port.postMessage(this.unsent)
    this.unsent.length = 0
  }

  private hear(told: readonly Told[]): void {
    for (const one of told) {
      const number = typeof one === 'number' ? one : one.number
      // The first, but for threads that run several at a time.
      const at = this.given.findIndex((given) => given.number === number)
      const { ended } = this.given[at]!
      if (at === 0) this.given.shift()
      else this.given.splice(at, 1)
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
    port.postMessage(untold)
    untold.length = 0
  }
  const ended = (one: Told): void => {
    if (untold.push(one) === 1) void sent.then(tell)
  }
  port.on('message', (messages: readonly Numbered[]) => {
    for (const { number, message } of messages)
      run(message).then(
        () => ended(number),
        (error: unknown) => ended({ number, error: error instanceof Error ? error : new Error(String(error)) }),
      )
  })
}
