import { MessageChannel, type MessagePort, type Worker } from 'node:worker_threads'
import { setTimeout as delay } from 'node:timers/promises'
import { Piscina } from 'piscina'
import { assert, shareThreadMemory } from '@millrace/base'
import { Door, type DoorTask, type Ended } from './door'
import { leaveSeat, type Seats } from './seats'
import { mayEnd, turnsOf } from './thread-work'
import { Watchdog } from './watchdog'

export interface PoolOptions {
  readonly name: string
  /** Absolute path of the file that each thread runs. */
  readonly workerFile: string
  /** Plain data that each thread starts with; shared memory is shared, all else is copied. */
  readonly workerData: unknown
  readonly threads: number
  /**
   * Batches that one thread may hold, but for short ones: one runs, the others wait at its door so that it never idles between
   * two.
   */
  readonly batchesPerThread: number
  /** Those that the threads take; a thread that ends leaves its own. */
  readonly seats?: Seats
  /** Called for each thread that starts; it takes batches when this is resolved. */
  readonly prepare?: (thread: PoolThread) => Promise<void>
  /** Longest run of a batch; by default it may take for ever. Only threads with seats are watched. */
  readonly batchTimeoutMs?: number
  /**
   * A batch runs longer than that; `message` is what `run` was given. Its thread is `ended` and replaced; one in native
   * code cannot be and gets no batches until it is back.
   */
  readonly onTimeout?: (message: unknown, ended: boolean) => void
  /** A thread that was in native code is back. */
  readonly onBack?: () => void
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
  /** Gives it no more batches, and ends it as soon as it is not in native code. What it was asked rejects then. */
  giveUp(why: string): void
}

/** How long a pool that closes waits for threads in native code. */
const nativeMsMax = 4_000

/** Between looks at a thread that is to be ended and is in native code. */
const endAgainMs = 10

/**
 * The threads of one kind of device. Piscina starts and replaces them, and carries what they are asked; batches have a
 * door of their own (door.ts). `run` is only called while there is a place or room: waiting is the batch room's business.
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
  private readonly seated = new Map<number, Thread>()
  /** Whom the question under way is for. Piscina asks that while its `run` is on the stack. */
  private asked: Thread | null = null
  /** Batches that threads have. */
  private running = 0
  /** Called when there are none. */
  private ranAll: () => void = () => undefined
  private closing = false
  private readonly watchdog: Watchdog<Thread> | null
  private readonly watching: NodeJS.Timeout | undefined

  constructor(private readonly options: PoolOptions) {
    this.name = options.name
    this.threads = options.threads
    shareThreadMemory()
    this.piscina = new Piscina({
      filename: options.workerFile,
      workerData: options.workerData,
      minThreads: options.threads,
      maxThreads: options.threads,
      loadBalancer: (_, workers) => {
        const worker = workers.find(({ id }) => id === this.asked?.id)
        // Piscina would keep it for whoever is there next.
        assert(worker !== undefined, 'a thread that is not gone is there')
        return worker
      },
      // Threads wait in their event loop: the better tail when idle (p99 94 us against 1.3 ms with 'sync').
      atomics: 'disabled',
      recordTiming: false,
      idleTimeout: Infinity,
    })
    const { seats, batchTimeoutMs } = options
    this.watchdog = seats === undefined || batchTimeoutMs === undefined ? null : new Watchdog(batchTimeoutMs)
    if (this.watchdog !== null)
      this.watching = setInterval(() => this.look(), Math.min(250, Math.ceil(batchTimeoutMs! / 4))).unref()
    this.piscina.on('error', () => undefined)
    this.piscina.threads.forEach((thread) => this.watch(thread, false))
    // Emitted for the first threads as well, and for the others when their file has run.
    this.piscina.on('workerCreate', ({ id }: { id: number }) => {
      const thread = this.piscina.threads.find((one) => one.threadId === id)
      if (thread !== undefined && !this.seated.has(id)) this.watch(thread, true)
    })
  }

  /** Threads that are in native code for too long. */
  get stuck(): number {
    return [...this.seated.values()].filter(({ stuck }) => stuck).length
  }

  /** Threads that are given batches. */
  get serving(): number {
    return [...this.seated.values()].filter(({ open }) => open).length
  }

  /** Every thread that is there, also those that are being prepared. */
  get all(): PoolThread[] {
    return [...this.seated.values()]
  }

  /**
   * Runs one batch on the thread that is next. `ended` is told an error when its run rejects, and when the thread dies; the
   * pool then replaces it. Called while `free` is positive, or while there is room for it.
   *
   * @param message plain data
   * @param us what it is expected to take, microseconds; 0: nobody knows
   */
  run(message: unknown, us: number, ended: Ended): void {
    const thread = this.soonest()
    assert(thread !== null, 'run is called while a thread has a place or room')
    this.give(thread, message, us, ended)
  }

  /** The thread that is next could have a batch of so many microseconds beside what it has, and be done with all of it soon. */
  hasRoom(us: number): boolean {
    return this.soonest()?.door.takesShort(us) ?? false
  }

  /** Threads that are given batches, and those of them that have none. */
  get open(): { readonly threads: number; readonly idle: number } {
    let threads = 0
    let idle = 0
    for (const { open, busy } of this.seated.values())
      if (open) {
        threads++
        if (busy === 0) idle++
      }
    return { threads, idle }
  }

  /**
   * Runs one batch on a thread that has nothing to do, and gives it nothing else meanwhile: where that thread ends, nobody
   * else loses anything. One that takes longer than `msMax` is ended. Called while a thread is idle.
   */
  runAlone(message: unknown, msMax: number, ended: Ended): void {
    const thread = [...this.seated.values()].find(({ open, busy }) => open && busy === 0)
    assert(thread !== undefined, 'runAlone is called while a thread is idle')
    this.openOrClose(thread, false)
    let late = false
    // It has failed when the thread is gone: until then it may write what it was given.
    const end = (): void => {
      late = true
      if (this.mayEnd(thread)) thread.end(`a batch that runs alone ran longer than ${msMax} ms`)
      else timer = setTimeout(end, endAgainMs)
    }
    let timer = setTimeout(end, msMax)
    this.give(thread, message, 0, (error) => {
      clearTimeout(timer)
      if (!thread.gone) this.openOrClose(thread, true)
      ended(late && error !== null ? new Error(`it took longer than ${msMax} ms`, { cause: error }) : error)
    })
  }

  /**
   * Waits for what runs, up to `waitMs`, then ends the threads; a batch that still runs rejects. False when a thread is in
   * native code and does not come back from it: then nothing but the end of the process ends it.
   */
  async close(waitMs = 10_000): Promise<boolean> {
    this.closing = true
    clearInterval(this.watching)
    if (this.running > 0) {
      const timeout = new AbortController()
      await Promise.race([
        new Promise<void>((resolve) => (this.ranAll = resolve)),
        delay(waitMs, undefined, { signal: timeout.signal }).catch(() => undefined),
      ])
      timeout.abort()
    }
    const end = performance.now() + nativeMsMax
    while (![...this.seated.values()].every((thread) => this.mayEnd(thread))) {
      if (performance.now() > end) return false
      await delay(5)
    }
    await this.piscina.destroy()
    return true
  }

  private mayEnd({ id }: Thread): boolean {
    return this.options.seats === undefined || mayEnd(this.options.seats, id)
  }

  /** Ends the threads on which a batch takes too long, or gives them no more until they are back. */
  private look(): void {
    const { over, again } = this.watchdog!.look(this.seated.values(), performance.now())
    for (const thread of over) {
      const ended = this.mayEnd(thread)
      // A batch is two turns; it may have told of none of those that it ran.
      this.options.onTimeout?.(thread.door.messageAfter(thread.turns() >>> 1), ended)
      if (ended) thread.end(`a batch ran longer than ${this.options.batchTimeoutMs} ms`)
      else if (thread.open) {
        thread.stuck = true
        this.openOrClose(thread, false)
      }
    }
    for (const thread of again) {
      if (!thread.stuck) continue
      thread.stuck = false
      this.openOrClose(thread, true)
      this.options.onBack?.()
      this.options.onFree?.()
    }
  }

  private watch(worker: Worker, replaces: boolean): void {
    const id = worker.threadId
    const { port1, port2 } = new MessageChannel()
    const door = new Door(port1, () => this.left(thread))
    const thread: Thread = new Thread(id, door, {
      ask: <T>(message: unknown) => this.ask<T>(thread, message),
      openOrClose: (open) => {
        this.openOrClose(thread, open)
        if (open) this.options.onFree?.()
      },
      giveUp: (why) => this.giveUp(thread, why),
      hasOther: () => [...this.seated.values()].some((other) => other !== thread && other.open),
    })
    this.seated.set(id, thread)
    const lost = (reason: Error): void => {
      if (thread.gone) return
      thread.gone = true
      this.seated.delete(id)
      if (thread.open) this.openOrClose(thread, false)
      if (thread.prepared) this.ready--
      door.close(reason)
      if (this.closing) return
      this.restarts++
      this.options.onLost?.(reason)
    }
    let reason = new Error('the thread exited')
    thread.end = (why) => {
      reason = new Error(why)
      if (thread.open) this.openOrClose(thread, false)
      void worker.terminate()
    }
    if (this.options.seats !== undefined) {
      const { seats } = this.options
      thread.turns = () => turnsOf(seats, id)
    }
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
    if (prepare === undefined) prepared()
    const task: DoorTask = { kind: 'door', port: port2 }
    // Not at once: Piscina counts the thread in after it has told of it.
    Promise.resolve()
      .then(() => this.ask(thread, task, [port2]))
      .then(() => prepare?.(thread))
      .then(
        () => {
          if (prepare !== undefined) prepared()
        },
        () => this.endWhenItMay(thread, worker),
      )
  }

  private give(thread: Thread, message: unknown, us: number, ended: Ended): void {
    this.running++
    thread.busy++
    if (thread.open && thread.busy <= this.options.batchesPerThread) this.free--
    thread.door.give(message, us, ended)
  }

  /** A batch of the thread ended. */
  private left(thread: Thread): void {
    thread.busy--
    if (thread.open && thread.busy < this.options.batchesPerThread) this.free++
    if (--this.running === 0) this.ranAll()
  }

  private endWhenItMay(thread: Thread, worker: Worker): void {
    if (thread.gone || this.mayEnd(thread)) void worker.terminate()
    else setTimeout(() => this.endWhenItMay(thread, worker), endAgainMs).unref()
  }

  private giveUp(thread: Thread, why: string): void {
    if (thread.gone || this.closing) return
    if (thread.open) this.openOrClose(thread, false)
    if (this.mayEnd(thread)) thread.end(why)
    else setTimeout(() => this.giveUp(thread, why), endAgainMs).unref()
  }

  /** The thread that is next: one that has a place, then who is done first as far as anybody knows, or has fewer batches. */
  private soonest(): Thread | null {
    let soonest: Thread | null = null
    for (const thread of this.seated.values())
      if (thread.open && (soonest === null || this.order(thread, soonest) < 0)) soonest = thread
    return soonest
  }

  private order(a: Thread, b: Thread): number {
    const { batchesPerThread } = this.options
    const full = Number(a.busy >= batchesPerThread) - Number(b.busy >= batchesPerThread)
    return full || a.door.dueUs - b.door.dueUs || a.busy - b.busy
  }

  private async ask<T>(thread: Thread, message: unknown, transferList: MessagePort[] = []): Promise<T> {
    if (thread.gone) throw new Error('the thread ended')
    this.asked = thread
    const answer = this.piscina.run(message, { transferList }) as Promise<T>
    this.asked = null
    return answer
  }

  private openOrClose(thread: Thread, open: boolean): void {
    thread.open = open
    const free = Math.max(0, this.options.batchesPerThread - thread.busy)
    this.free += open ? free : -free
  }
}

interface ThreadActs {
  ask<T>(message: unknown): Promise<T>
  openOrClose(open: boolean): void
  giveUp(why: string): void
  hasOther(): boolean
}

class Thread implements PoolThread {
  busy = 0
  gone = false
  prepared = false
  /** It is given batches. */
  open = false
  /** It is in native code for too long. */
  stuck = false
  turns: () => number = () => 0
  /** Only where it may be ended. */
  end: (why: string) => void = () => undefined

  constructor(
    readonly id: number,
    readonly door: Door,
    private readonly acts: ThreadActs,
  ) {}

  ask<T>(message: unknown): Promise<T> {
    return this.acts.ask(message)
  }

  giveUp(why: string): void {
    this.acts.giveUp(why)
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
