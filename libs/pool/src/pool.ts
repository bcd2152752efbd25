import type { Worker } from 'node:worker_threads'
import { setTimeout as delay } from 'node:timers/promises'
import { Piscina } from 'piscina'
import { assert, shareThreadMemory } from '@millrace/base'
import { leaveSeat, type Seats } from './seats'

export interface PoolOptions {
  readonly name: string
  /** Absolute path of the file that each thread runs. */
  readonly workerFile: string
  /** Plain data that each thread starts with; shared memory is shared, all else is copied. */
  readonly workerData: unknown
  readonly threads: number
  /** Batches that one thread may hold: one runs, the others wait at its door so that it never idles between two. */
  readonly batchesPerThread: number
  /** Those that the threads take; a thread that ends leaves its own. */
  readonly seats?: Seats
  /** Called for each thread that starts; it takes batches when this is resolved. */
  readonly prepare?: (thread: PoolThread) => Promise<void>
  /** A thread ended that should not have; its batches were rejected, a new one is starting. */
  readonly onLost?: (reason: Error) => void
  /** The new thread takes batches. */
  readonly onReplaced?: () => void
  /** There is room that was not: a thread is new, or takes batches again. Of batches that end nothing is told here. */
  readonly onFree?: () => void
}

/** A thread of a pool. */
export interface PoolThread {
  /** Node's. */
  readonly id: number
  /** Batches that it has. */
  readonly busy: number
  readonly gone: boolean
  /** It was prepared: it takes batches, but for when it is aside. */
  readonly prepared: boolean
  /** It is given batches. */
  readonly open: boolean
  /** Answered by this thread, whatever else it has to do; no batch of the pool. Rejects when the thread ends. */
  ask<T>(message: unknown): Promise<T>
  /** Gives it no batches while `work` lasts, where another thread takes them meanwhile. */
  aside<T>(work: () => Promise<T>): Promise<T>
}

/**
 * The threads of one kind of device: a Piscina pool whose own queue stays empty, because `run` is only called
 * while `free` is positive. Waiting is the batch room's business.
 */
export class Pool {
  readonly name: string
  readonly threads: number
  /** Batches that the pool can take now without queueing. */
  free = 0
  /** Threads that are prepared, also those that are aside for a while. */
  ready = 0
  /** Threads that were replaced. */
  restarts = 0
  private readonly piscina: Piscina
  private readonly running = new Set<Promise<unknown>>()
  private readonly seated = new Map<number, Thread>()
  /** Whom the message under way is for; null: the least busy thread. Piscina asks while `run` is on the stack. */
  private aim: Thread | null = null
  private chosen!: Thread
  private closing = false

  constructor(private readonly options: PoolOptions) {
    this.name = options.name
    this.threads = options.threads
    shareThreadMemory()
    this.piscina = new Piscina({
      filename: options.workerFile,
      workerData: options.workerData,
      minThreads: options.threads,
      maxThreads: options.threads,
      concurrentTasksPerWorker: options.batchesPerThread,
      loadBalancer: (_, workers) => {
        this.chosen = this.aim ?? this.leastBusy()
        const worker = workers.find(({ id }) => id === this.chosen.id)
        // Piscina would keep it for whoever is there next.
        assert(worker !== undefined, 'a thread that is not gone is there')
        return worker
      },
      // Threads wait in their event loop: the better tail when idle (p99 94 us against 1.3 ms with 'sync').
      atomics: 'disabled',
      recordTiming: false,
      idleTimeout: Infinity,
    })
    this.piscina.on('error', () => undefined)
    this.piscina.threads.forEach((thread) => this.watch(thread, false))
    // Emitted for the first threads as well, and for the others when their file has run.
    this.piscina.on('workerCreate', ({ id }: { id: number }) => {
      const thread = this.piscina.threads.find((one) => one.threadId === id)
      if (thread !== undefined && !this.seated.has(id)) this.watch(thread, true)
    })
  }

  /** Every thread that is there, also those that are being prepared. */
  get all(): PoolThread[] {
    return [...this.seated.values()]
  }

  /** Runs one message on the least busy thread. Rejects when the thread dies; the pool then replaces it. */
  async run<T>(message: unknown): Promise<T> {
    const answer = this.piscina.run(message) as Promise<T>
    const { chosen } = this
    chosen.busy++
    if (chosen.open) this.free--
    this.running.add(answer)
    try {
      return await answer
    } finally {
      this.running.delete(answer)
      chosen.busy--
      if (chosen.open) this.free++
    }
  }

  /** Waits for what runs, up to `waitMs`, then ends the threads; a batch that still runs rejects. */
  async close(waitMs = 10_000): Promise<void> {
    this.closing = true
    if (this.running.size > 0) {
      const timeout = new AbortController()
      await Promise.race([
        Promise.allSettled(this.running),
        delay(waitMs, undefined, { signal: timeout.signal }).catch(() => undefined),
      ])
      timeout.abort()
    }
    await this.piscina.destroy()
  }

  private watch(worker: Worker, replaces: boolean): void {
    const id = worker.threadId
    const thread: Thread = new Thread(id, {
      ask: <T>(message: unknown) => this.ask<T>(thread, message),
      openOrClose: (open) => {
        this.openOrClose(thread, open)
        if (open) this.options.onFree?.()
      },
      hasOther: () => [...this.seated.values()].some((other) => other !== thread && other.open),
    })
    this.seated.set(id, thread)
    const lost = (reason: Error): void => {
      if (thread.gone) return
      thread.gone = true
      this.seated.delete(id)
      if (thread.open) this.openOrClose(thread, false)
      if (thread.prepared) this.ready--
      if (this.closing) return
      this.restarts++
      this.options.onLost?.(reason)
    }
    let reason = new Error('the thread exited')
    // Piscina drops a thread at its first sign: from then on it is given nothing.
    worker.once('error', (error: Error) => {
      reason = error
      lost(error)
    })
    worker.once('exit', () => {
      if (this.options.seats !== undefined) leaveSeat(this.options.seats, id)
      lost(reason)
    })
    const prepared = (): void => {
      if (thread.gone) return
      thread.prepared = true
      this.ready++
      this.openOrClose(thread, true)
      if (replaces) this.options.onReplaced?.()
      this.options.onFree?.()
    }
    const { prepare } = this.options
    if (prepare === undefined) return prepared()
    // Not at once: Piscina counts the thread in after it has told of it.
    Promise.resolve()
      .then(() => prepare(thread))
      .then(prepared, () => void worker.terminate())
  }

  private leastBusy(): Thread {
    let least: Thread | null = null
    for (const thread of this.seated.values())
      if (thread.open && (least === null || thread.busy < least.busy)) least = thread
    assert(least !== null, 'run is called while a thread is free')
    return least
  }

  private async ask<T>(thread: Thread, message: unknown): Promise<T> {
    if (thread.gone) throw new Error('the thread ended')
    this.aim = thread
    const answer = this.piscina.run(message) as Promise<T>
    this.aim = null
    return answer
  }

  private openOrClose(thread: Thread, open: boolean): void {
    thread.open = open
    const free = this.options.batchesPerThread - thread.busy
    this.free += open ? free : -free
  }
}

interface ThreadActs {
  ask<T>(message: unknown): Promise<T>
  openOrClose(open: boolean): void
  hasOther(): boolean
}

class Thread implements PoolThread {
  busy = 0
  gone = false
  prepared = false
  /** It is given batches. */
  open = false

  constructor(
    readonly id: number,
    private readonly acts: ThreadActs,
  ) {}

  ask<T>(message: unknown): Promise<T> {
    return this.acts.ask(message)
  }

  async aside<T>(work: () => Promise<T>): Promise<T> {
    if (!this.open || !this.acts.hasOther()) return work()
    this.acts.openOrClose(false)
    try {
      return await work()
    } finally {
      if (!this.gone) this.acts.openOrClose(true)
    }
  }
}
