import { layoutSlab, openSlab } from '@millrace/batch'
import type { Arena } from '@millrace/base'
import type { LanePool, LanePoolEvents } from '@millrace/server/in-process'
import type { Ended } from '@millrace/pool'
import type { LoadTask, RunTask, Task } from '@millrace/worker'
import { descriptionOf, signature } from './plan'
import type { ControlWorld } from './world'

type PoolThread = LanePool['pool']['all'][number]

/** A thread of a simulated lane: what it has loaded, and whether it still is. */
class Thread implements PoolThread {
  busy = 0
  gone = false
  prepared = false
  open = false
  readonly loaded = new Set<number>()
  /** Of what it was asked. */
  readonly rejects = new Set<(reason: Error) => void>()

  constructor(
    readonly id: number,
    private readonly pool: SimulatedLanePool,
  ) {}

  async ask<T>(message: unknown): Promise<T> {
    return (await this.pool.ask(this, message as Task)) as T
  }

  giveUp(why: string): void {
    this.pool.end(this, why)
  }

  async aside<T>(work: () => Promise<T>): Promise<T> {
    if (!this.open || !this.pool.hasOther(this)) return work()
    this.pool.openOrClose(this, false)
    try {
      return await work()
    } finally {
      if (!this.gone) this.pool.openAgain(this)
    }
  }
}

/** A pool as a lane has it, whose threads load versions as it is planned, and run none that they have not loaded. */
export class SimulatedLanePool {
  free = 0
  ready = 0
  restarts = 0
  readonly seated = new Set<Thread>()
  readonly opened: Promise<void>
  private ids = 0
  private ended = false
  private allOpened!: () => void

  constructor(
    readonly name: string,
    readonly threads: number,
    private readonly inFlight: number,
    private readonly arena: Arena,
    private readonly world: ControlWorld,
    private readonly events: LanePoolEvents,
    /** Ends the process that the pool is of. */
    private readonly crash: (why: string) => void,
  ) {
    this.opened = new Promise((resolve) => (this.allOpened = resolve))
    for (let t = 0; t < threads; t++) this.start()
  }

  get all(): Thread[] {
    return [...this.seated]
  }

  /** Short batches wait for a thread like all others. */
  hasRoom(): boolean {
    return false
  }

  run(task: RunTask, _: number, ended: Ended): void {
    this.runs(task).then(() => ended(null), ended)
  }

  private async runs(task: RunTask): Promise<void> {
    const open = this.all.filter((thread) => thread.open)
    if (this.free <= 0 || open.length === 0) throw this.world.broken(`pool ${this.name} has no room for a batch`)
    const thread = open.reduce((least, one) => (one.busy < least.busy ? one : least))
    thread.busy++
    this.free--
    try {
      await this.work(thread, this.world.chance.spread(0.1, 20))
      if (!thread.loaded.has(task.version))
        throw this.world.broken(
          `a thread of lane pool ${this.name} runs version ${task.version}, which it has not loaded`,
        )
      this.answer(task)
    } finally {
      thread.busy--
      if (thread.open) this.free++
    }
  }

  async ask(thread: Thread, task: Task): Promise<unknown> {
    if (thread.gone) throw new Error('the thread ended')
    if (task.kind === 'load') return this.load(thread, task)
    if (task.kind === 'unload') {
      await this.work(thread, 1)
      thread.loaded.delete(task.version)
    }
    return undefined
  }

  /** One of its threads ends; another takes its place. */
  lose(): void {
    const thread = this.all.find(({ gone }) => !gone)
    if (thread !== undefined) this.end(thread, 'the thread exited')
  }

  /** Whether every thread ended. */
  close(): Promise<boolean> {
    this.endAll()
    return Promise.resolve(true)
  }

  /** Its process is gone: nobody hears of it again. */
  endAll(): void {
    this.ended = true
    for (const thread of this.seated) thread.gone = true
  }

  hasOther(thread: Thread): boolean {
    return this.all.some((other) => other !== thread && other.open)
  }

  openOrClose(thread: Thread, open: boolean): void {
    thread.open = open
    const free = this.inFlight - thread.busy
    this.free += open ? free : -free
  }

  openAgain(thread: Thread): void {
    this.openOrClose(thread, true)
    this.events.freed()
  }

  private async load(thread: Thread, { version, folder }: LoadTask): Promise<unknown> {
    if (this.world.halfWritten.has(folder.path))
      throw this.world.broken(`${folder.name}@${folder.version} is loaded while it is written`)
    const { outcome, ms } = this.world.plans.get(folder.path) ?? { outcome: 'failed', ms: 1 }
    await this.work(thread, ms)
    this.world.tell(
      () => `a thread of lane pool ${this.name} loaded ${folder.name}@${folder.version}, ${version}: ${outcome}`,
    )
    if (outcome === 'ends the process') this.crash(`loading ${folder.name}@${folder.version}`)
    if (outcome === 'ends the thread') this.end(thread, 'a native library gave up')
    // Nobody comes back from either.
    if (thread.gone) await this.work(thread, Infinity)
    if (outcome === 'ready') thread.loaded.add(version)
    return descriptionOf(folder, outcome === 'ready')
  }

  /** Resolves after some time, where the thread lives so long. */
  private work(thread: Thread, ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (thread.gone) return this.ended ? undefined : reject(new Error('the thread ended'))
      thread.rejects.add(reject)
      this.world.clock.after(ms, () => {
        if (thread.gone) return
        thread.rejects.delete(reject)
        resolve()
      })
    })
  }

  private start(): void {
    const thread = new Thread(this.ids++, this)
    this.seated.add(thread)
    this.world.clock.after(1, () => {
      this.events.prepare(thread).then(
        () => this.prepared(thread),
        () => this.end(thread, 'it was not prepared'),
      )
    })
  }

  private prepared(thread: Thread): void {
    if (thread.gone) return
    thread.prepared = true
    this.ready++
    this.openOrClose(thread, true)
    this.events.changed()
    if (this.ready === this.threads) this.allOpened()
    this.events.freed()
  }

  end(thread: Thread, why: string): void {
    if (thread.gone) return
    this.world.tell(() => `a thread of lane pool ${this.name} ends: ${why}`)
    thread.gone = true
    this.seated.delete(thread)
    if (thread.open) this.openOrClose(thread, false)
    if (thread.prepared) this.ready--
    this.restarts++
    this.events.changed()
    for (const reject of thread.rejects) reject(new Error(why))
    this.world.clock.after(20, () => this.ended || this.start())
  }

  /** As a workflow does that adds one. */
  private answer({ rowsMax, offset, blockBytes }: RunTask): void {
    const slab = openSlab(this.arena.memory, layoutSlab(signature, rowsMax), offset, blockBytes)
    slab.header.fill(0, 6, 7)
    const x = slab.inputs['x'] as Uint32Array
    ;(slab.outputs['y'] as Uint32Array).set(x.map((value) => value + 1))
  }
}
