import { Code, Strings, StringsWriter, type DenseArray, type Signature } from '@millrace/base'
import { Header, layoutSlab, leaveOutDead, openSlab, type BatchColumns, type Layout } from '@millrace/batch'
import type { Ended } from '@millrace/pool'
import type { RunTask } from '@millrace/worker'
import { FailureLog, SlabSink } from '@millrace/worker/in-process'
import { Violation } from '../story'
import { digestOf, outputBytes, serialOf } from './columns'
import { nameOf, type Fate, type Request } from './request'
import type { WatchedArena, World } from './world'

/** A version as the threads know it. */
export interface DeviceVersion {
  /** What it computes. */
  readonly kind: number
  readonly label: string
  readonly signature: Signature
}

/** What a pool asks and tells. */
export interface Surroundings {
  /** Undefined where it is not loaded. */
  versionOf(index: number): DeviceVersion | undefined
  /** A batch of so many rows of these is given to the pool. */
  given(requests: ReadonlySet<Request>, rows: number, version: number): void
  /** A row of it begins to run. */
  begins(request: Request): void
  /** A batch of copies is given to a thread of its own: one of `idle`, and `open` threads take batches, this one too. */
  givenCopies(idle: number, open: number, copying: number): void
  /** The batch at `offset`, of these, runs for too long. */
  timedOut(offset: number, requests: ReadonlySet<Request>): void
  /** There is room that was not, but for batches that ended. */
  freed(): void
}

export interface DeviceOptions {
  readonly name: string
  readonly threads: number
  readonly inFlight: number
  /** Microseconds of a run before its first row, and for each row. */
  readonly runUs: number
  readonly rowUs: number
  /** Rows that fit its memory at once; Infinity: all. */
  readonly rowsFit: number
  /** Share of the batches that fail, and of those that never end. */
  readonly failing: number
  readonly endless: number
  /** Longest run of a batch. */
  readonly timeoutMs: number
}

/** As a pool has them, not the same numbers. */
const shortUsMax = 400
const jobsMax = 4

/** What is in a slab. */
interface Contents {
  readonly rows: readonly Row[]
  /** By request of the batch: of its own columns and its context. */
  readonly digests: readonly number[]
  readonly requestOf: Uint32Array
}

interface Row {
  readonly request: Request
  readonly row: number
  readonly digest: number
}

/** A batch that a thread has. */
interface Job {
  readonly task: RunTask
  /** What it is expected to take. */
  readonly us: number
  readonly version: DeviceVersion
  readonly layout: Layout
  /** Which taking of the arena its slab is of. */
  readonly taking: number
  /** Whose rows it had when it was given. */
  readonly requests: ReadonlySet<Request>
  /** Of copies: has its thread alone, for so long at most. 0: of requests. */
  readonly aloneMs: number
  /** What its rows were when it began to run, or when it was given. */
  began: readonly Row[]
  stop: () => void
  readonly ended: Ended
}

class Thread {
  readonly jobs: Job[] = []
  /** Batches that the pool has not heard of again. */
  busy = 0
  /** It is given batches. */
  open = true

  constructor(readonly number: number) {}
}

/**
 * A pool whose threads are lists and whose runs are events of the clock. Its surface is what the road uses of a `Pool`;
 * what it writes into a slab is what a worker writes.
 */
export class SimulatedPool {
  readonly name: string
  free: number
  private readonly threads: Thread[]
  private started = 0

  constructor(
    private readonly world: World,
    private readonly arena: WatchedArena,
    private readonly options: DeviceOptions,
    private readonly surroundings: Surroundings,
  ) {
    this.name = options.name
    this.threads = Array.from({ length: options.threads }, () => new Thread(this.started++))
    this.free = options.threads * options.inFlight
  }

  /** No thread has anything to do. */
  get idle(): boolean {
    return this.threads.every(({ busy }) => busy === 0)
  }

  /** Threads that are given batches, and those of them that have none. */
  get open(): { readonly threads: number; readonly idle: number } {
    const open = this.threads.filter((thread) => thread.open)
    return { threads: open.length, idle: open.filter(({ busy }) => busy === 0).length }
  }

  /** As a pool's threads have it for short batches. */
  hasRoom(us: number): boolean {
    return this.threads.some((thread) => this.takesShort(thread, us))
  }

  private takesShort({ open, busy, jobs }: Thread, us: number): boolean {
    return open && busy < jobsMax && jobs.reduce((sum, job) => sum + job.us, us) <= shortUsMax
  }

  run(task: RunTask, us: number, ended: Ended): void {
    const open = this.threads.filter((thread) => thread.open)
    if (open.length === 0 || (this.free <= 0 && !this.hasRoom(us)))
      throw new Violation(`pool ${this.name} has no room for a batch`)
    const thread = open
      .filter((one) => this.free > 0 || this.takesShort(one, us))
      .reduce((least, one) => (one.busy < least.busy ? one : least))
    if (thread.busy >= this.options.inFlight) this.world.tally.count('short batches at a thread that has its own')
    const job = this.jobOf(task, us, 0, ended)
    this.surroundings.given(job.requests, job.began.length, task.version)
    if (thread.busy < this.options.inFlight) this.free--
    this.give(thread, job)
  }

  /** Of copies: the thread is given nothing else meanwhile. */
  runAlone(task: RunTask, msMax: number, ended: Ended): void {
    const thread = this.threads.find(({ open, busy }) => open && busy === 0)
    if (thread === undefined) throw new Violation(`pool ${this.name} has no idle thread for copies`)
    const copying = this.threads.filter(({ jobs: [first] }) => first !== undefined && first.aloneMs > 0).length
    this.surroundings.givenCopies(this.open.idle, this.open.threads, copying)
    this.openOrClose(thread, false)
    this.give(thread, this.jobOf(task, 0, msMax, ended))
  }

  private give(thread: Thread, job: Job): void {
    thread.busy++
    thread.jobs.push(job)
    this.world.tell(() => `${this.nameOf(thread)} is given ${whatOf(job)} at ${job.task.offset}`)
    if (thread.jobs.length === 1) this.begin(thread)
  }

  /** A thread ends, with what it has; another one comes. */
  lose(replacedMs: number): void {
    if (this.threads.length > 0) this.endThread(this.world.chance.pick(this.threads), replacedMs, 'the thread exited')
  }

  private endThread(thread: Thread, replacedMs: number, why: string): void {
    const { world, options } = this
    this.threads.splice(this.threads.indexOf(thread), 1)
    if (thread.open) this.openOrClose(thread, false)
    world.tell(() => `${this.nameOf(thread)} ends with ${thread.jobs.length} batches`)
    world.tally.count('thread deaths')
    for (const job of thread.jobs) {
      job.stop()
      world.tally.count('batches lost')
      for (const request of fated(job)) request.fates.add('lost')
      this.scribble(job)
      // The pool hears of it when it does.
      world.clock.after(world.chance.pick([0, 0, 1, 30]), () => {
        this.check(job)
        this.told(thread, job)
        const nowUs = world.clock.nowUs()
        for (const request of fated(job)) if (nowUs <= request.dueUs) request.fates.add('lost in time')
        job.ended(new Error(why))
      })
    }
    world.clock.after(replacedMs, () => {
      const next = new Thread(this.started++)
      this.threads.push(next)
      this.free += options.inFlight
      world.tell(() => `${this.nameOf(next)} takes its place`)
      this.surroundings.freed()
    })
  }

  /** A thread takes no new batches for a while, where another one does. */
  setAside(ms: number): void {
    const { world } = this
    const open = this.threads.filter((thread) => thread.open)
    if (open.length < 2) return
    const thread = world.chance.pick(open)
    this.openOrClose(thread, false)
    world.tell(() => `${this.nameOf(thread)} is aside`)
    world.clock.after(ms, () => {
      if (!this.threads.includes(thread) || thread.open) return
      this.openOrClose(thread, true)
      world.tell(() => `${this.nameOf(thread)} is back`)
      this.surroundings.freed()
    })
  }

  private jobOf(task: RunTask, us: number, aloneMs: number, ended: Ended): Job {
    const version = this.surroundings.versionOf(task.version)
    if (version === undefined) throw new Violation(`a batch for version ${task.version}, which is not loaded`)
    const taking = this.arena.takingOf(task.offset)
    if (taking === 0) throw new Violation(`a batch of ${version.label} in a slab that is free`)
    const layout = layoutSlab(version.signature, task.rowsMax)
    const began = this.read({ task, version, layout }).rows
    const requests = new Set(began.map(({ request }) => request))
    return { task, us, version, layout, taking, requests, aloneMs, began, stop: () => undefined, ended }
  }

  private begin(thread: Thread): void {
    const job = thread.jobs[0]
    if (job === undefined) return
    const { world, options } = this
    const { task, layout, version } = job
    this.check(job)
    leaveOutDead(this.arena.memory, layout, task.offset, world.clock.nowUs())
    job.began = this.read(job).rows
    if (job.aloneMs === 0) for (const { request } of job.began) this.surroundings.begins(request)
    if (job.began.length === 0) {
      world.tell(() => `${this.nameOf(thread)} has nothing to run of ${version.label}`)
      world.tally.count('batches that nobody waited for')
      return this.leave(thread, job)
    }
    const slow = world.chance.holds(0.02) ? 50 : 1
    const us = Math.round((options.runUs + options.rowUs * job.began.length) * slow * (0.5 + world.chance.next()))
    world.tell(() => `${this.nameOf(thread)} runs ${rowsText(job.began)} of ${whatOf(job)} for ${us} us`)
    const mostUs = 1000 * (job.aloneMs || options.timeoutMs)
    const endless = world.chance.holds(options.endless)
    const nowUs = world.clock.nowUs()
    if (endless || us > mostUs)
      job.stop = world.clock.at(nowUs + mostUs, () => this.timeOut(thread, job, endless ? 0 : us))
    else job.stop = world.clock.at(nowUs + us, () => this.end(thread, job, us))
  }

  /** A batch is over its time: its thread is ended, or, in native code, given no more until it is back. */
  private timeOut(thread: Thread, job: Job, us: number): void {
    const { world, options, surroundings } = this
    const isNative = us > 0 && world.chance.holds(0.5)
    world.tell(() => `${this.nameOf(thread)} runs ${whatOf(job)} for too long${isNative ? ', in native code' : ''}`)
    world.tally.count(job.aloneMs > 0 ? 'batches of copies over their time' : 'batches over their time')
    for (const request of fated(job)) request.fates.add('timed out')
    if (job.aloneMs === 0) surroundings.timedOut(job.task.offset, job.requests)
    if (!isNative) return this.endThread(thread, world.chance.spread(1, 300), 'a batch ran too long')
    if (thread.open) this.openOrClose(thread, false)
    job.stop = world.clock.at(world.clock.nowUs() + us - 1000 * (job.aloneMs || options.timeoutMs), () => {
      // A batch of copies has its thread closed; when it is told of, it is open again.
      if (job.aloneMs === 0 && !thread.open) this.openOrClose(thread, true)
      this.end(thread, job, us)
      surroundings.freed()
    })
  }

  private end(thread: Thread, job: Job, us: number): void {
    const { world } = this
    this.check(job)
    const contents = this.read(job)
    const { rows } = contents
    if (rows.length !== job.began.length || rows.some(({ digest }, i) => digest !== job.began[i]!.digest))
      throw new Violation(`the slab of a batch of ${job.version.label} was written while the batch ran`)
    this.answer(job, contents, us)
    world.tally.count(job.aloneMs > 0 ? 'batches of copies' : 'batches')
    world.tell(() => `${this.nameOf(thread)} ran ${rowsText(job.began)} of ${job.version.label}`)
    this.leave(thread, job)
  }

  /** The thread goes on with its next batch, while the message that this one ran is on its way. */
  private leave(thread: Thread, job: Job): void {
    thread.jobs.shift()
    this.world.clock.after(0, () => {
      this.check(job)
      this.told(thread, job)
      job.ended(null)
    })
    this.begin(thread)
  }

  private told(thread: Thread, { aloneMs }: Job): void {
    thread.busy--
    if (thread.open && thread.busy < this.options.inFlight) this.free++
    if (aloneMs > 0 && this.threads.includes(thread)) this.openOrClose(thread, true)
  }

  private openOrClose(thread: Thread, open: boolean): void {
    thread.open = open
    const free = Math.max(0, this.options.inFlight - thread.busy)
    this.free += open ? free : -free
  }

  /** The slab is still this batch's. */
  private check({ task, taking, version }: Job): void {
    if (this.arena.takingOf(task.offset) !== taking)
      throw new Violation(`the slab of a batch of ${version.label} was given back before the batch was`)
  }

  /** Whose rows are in the slab. */
  private read({ task, layout, version }: Pick<Job, 'task' | 'layout' | 'version'>): Contents {
    const slab = openSlab(this.arena.memory, layout, task.offset, task.blockBytes)
    const { inputs, context = [] } = version.signature
    const valuesOf = (per: 'row' | 'request', at: number): Uint8Array[] =>
      inputs.flatMap((column) =>
        column.per === per ? valueAt(slab.inputs[column.name]!, at, per === 'row' ? slab.rows : slab.requests) : [],
      )
    const digests = Array.from({ length: slab.requests }, (_, r) =>
      digestOf(
        version.kind,
        valuesOf('request', r),
        context.map(({ name }) => valueAt(slab.context[name]!, r, slab.requests)),
      ),
    )
    const keys = slab.inputs['key'] as BigUint64Array
    const rows = Array.from({ length: slab.rows }, (_, i): Row => {
      const { serial, row } = serialOf(keys[i]!)
      const digest = digests[slab.requestOf[i]!]
      if (digest === undefined) throw new Violation(`a row of request ${slab.requestOf[i]} of ${slab.requests}`)
      return { request: this.world.requestOf(serial, row), row, digest: digestOf(digest, valuesOf('row', i)) }
    })
    return { rows, digests, requestOf: slab.requestOf }
  }

  /** Writes what a worker writes. */
  private answer(job: Job, contents: Contents, us: number): void {
    const { world, options } = this
    const { task, layout, version } = job
    const { rows, requestOf } = contents
    const { rowsFit } = options
    const slab = openSlab(this.arena.memory, layout, task.offset, task.blockBytes)
    const { header } = slab
    header[Header.refused] = 0
    const sink = new SlabSink(slab, version.label, '', never)
    const requests: Request[] = []
    rows.forEach(({ request }, i) => (requests[requestOf[i]!] = request))
    const refuse = (r: number, code: Code, fate: Fate, message: string): void => {
      const request = requests[r]!
      if (job.aloneMs === 0) request.fates.add(fate)
      world.tell(() => `${nameOf(request)} is refused by its workflow: ${message}`)
      sink.refuse(r, code, message)
    }
    const refused = new Set<number>()
    rows.forEach(({ request, row }, i) => {
      const r = requestOf[i]!
      if (request.refusedRow !== row || refused.has(r)) return
      refused.add(r)
      refuse(r, Code.INVALID_ARGUMENT, 'refused', `row ${row} is not to the liking of its workflow`)
    })
    let why = world.chance.holds(options.failing) ? 'the workflow throws' : ''
    try {
      this.write(job, contents, slab.outputs)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      world.tally.count('heaps that overflow')
      why = error.message
    }
    if (why !== '') requests.forEach((_, r) => refused.has(r) || refuse(r, Code.INTERNAL, 'failed', why))
    else if (job.aloneMs === 0) rows.forEach(({ request, row }, i) => refused.has(requestOf[i]!) || request.ran[row]!++)
    const tooMany = rows.length > rowsFit
    if (tooMany) world.tally.count('batches larger than the memory')
    header[Header.heapUsed] = slab.cursor.used
    header[Header.factsUs] = 0
    header[Header.scoreUs] = us
    header[Header.rowsFit] = tooMany ? rowsFit : 0
    header[Header.tooLarge] = tooMany ? 1 : 0
    header[Header.runUs] = us
  }

  private write({ version }: Job, { rows, digests }: Contents, outputs: BatchColumns['outputs']): void {
    version.signature.outputs.forEach((column, c) => {
      const output = outputs[column.name]!
      const of = column.per === 'row' ? rows.map(({ digest }) => digest) : digests
      of.forEach((digest, i) => {
        const bytes = outputBytes(column, c, digest)
        if (output instanceof StringsWriter) output.set(i, bytes)
        else bytesOf(output).set(bytes, i * bytes.length)
      })
    })
  }

  /** A thread that ends may have written anything of its answers. */
  private scribble({ task, layout, version }: Job): void {
    const slab = openSlab(this.arena.memory, layout, task.offset, task.blockBytes)
    slab.header[Header.refused] = 0
    for (const { name, ragged } of version.signature.outputs)
      if (!ragged) bytesOf(slab.outputs[name] as DenseArray).fill(0x77)
  }

  private nameOf({ number }: Thread): string {
    return `thread ${number} of pool ${this.name}`
  }
}

const never = new FailureLog((line) => {
  throw new Violation(`a worker logs ${line}`)
})

function bytesOf({ buffer, byteOffset, byteLength }: DenseArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** The bytes of one of a column's `count` values. */
function valueAt(column: DenseArray | Strings, i: number, count: number): Uint8Array {
  if (column instanceof Strings) return column.bytes(i)
  const width = column.byteLength / count
  return bytesOf(column).subarray(i * width, (i + 1) * width)
}

/** Whose fate it is what becomes of a batch: copies have none. */
function fated({ requests, aloneMs }: Job): Iterable<Request> {
  return aloneMs > 0 ? [] : requests
}

function whatOf({ aloneMs, version }: Job): string {
  return `a batch of ${aloneMs > 0 ? 'copies for ' : ''}${version.label}`
}

function rowsText(rows: readonly Row[]): string {
  const serials = new Set(rows.map(({ request }) => request.serial))
  return `${rows.length} rows of requests ${[...serials].join(', ')}`
}
