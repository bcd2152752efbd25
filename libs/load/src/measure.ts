import { fork, type ChildProcess } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isWarm, windowMs } from './warm'
import { processesMax, type Apart } from './apart'
import { cpuUs } from './cpu'
import { addCounted, latencyOf, percentileCurve, sortsOf, type LatencyUs } from './tally'
import type { FromLoad, ToLoad } from './load-process'
import type { Load, Loaded } from './load'

/** What is loaded. */
export interface Target {
  readonly pid: number
  readonly ports: readonly number[]
  /** It stays on these CPUs and its load on those; null: both are wherever the kernel puts them. */
  readonly apart?: Apart | null
  /** Rows and batches that ran so far, where it can say. */
  batches?(): Promise<{ readonly rows: number; readonly batches: number }>
}

export interface Timing {
  /** Longest time until it is warm; what is not warm then is measured all the same, and marked. */
  readonly warmMsMax: number
  readonly measureMs: number
}

/** One run: a load against a server. */
export interface Run {
  readonly seconds: number
  readonly good: number
  readonly refused: number
  readonly errors: number
  /** Good, refused and failed, by code. */
  readonly codes: Readonly<Record<string, number>>
  /** Good ones. */
  readonly perSecond: number
  /** Microseconds, of good ones. In an open loop from when they were due. */
  readonly latencyUs: LatencyUs
  /** The same as a histogram, so that runs add up (`addCounted`). */
  readonly histogram: string
  readonly percentiles: readonly { readonly percentile: number; readonly us: number }[]
  /** Server CPU, all its processes and threads, microseconds for each good one. */
  readonly cpuUs: number
  /** CPUs that the server used. */
  readonly cpus: number
  /** Mean rows of a batch; NaN where the server does not say. */
  readonly batchRows: number
  readonly warmMs: number
  readonly warm: boolean
  /** Server and generator had CPUs of their own. */
  readonly apart: boolean
  readonly generator: {
    readonly processes: number
    readonly cpus: number
    readonly busy: number
    readonly lateUs: number
    /** What was measured is the generator, not the server: why, or null. */
    readonly limit: string | null
  }
}

/** A closed loop whose generator has something to do all the time is as fast as its generator. */
const busyMax = 0.97
/** Arrivals that are noticed later than this are not the schedule's any more, microseconds. */
const lateUsMax = 1000
/** On so few CPUs the generator sleeps between looks at the clock, so that the server has its own. */
const cpusFew = 2
const napMs = 0.05

/** Runs a load in processes of its own until the server is warm, and then for as long as it is measured. */
export async function measure(target: Target, load: Load, { warmMsMax, measureMs }: Timing): Promise<Run> {
  const parts = Math.min(load.sockets, processesMax())
  const processes: LoadProcess[] = []
  try {
    for (let part = 0; part < parts; part++) processes.push(new LoadProcess())
    await Promise.all(
      processes.map(async (one, part) => {
        const all = { ports: target.ports, parts, napMs: cpus().length <= cpusFew ? napMs : 0 }
        one.tell({ start: { load, part: { ...all, part }, cpus: target.apart?.load ?? [] } })
        await one.next((message) => message === 'started' || null)
      }),
    )
    const { warmMs, warm } = await warmUp(target, processes, warmMsMax)
    const before = await target.batches?.()
    const cpu = cpuUs(target.pid)
    for (const one of processes) one.tell('begin')
    await Promise.race([sleep(measureMs), ...processes.map(({ failed }) => failed)])
    const spent = cpuUs(target.pid) - cpu
    for (const one of processes) one.tell('end')
    const loaded = await Promise.all(
      processes.map((one) =>
        one.next((message) => (typeof message === 'object' && 'loaded' in message ? message.loaded : null)),
      ),
    )
    const after = await target.batches?.()
    return runOf(load, loaded, spent, {
      warmMs,
      warm,
      apart: (target.apart ?? null) !== null,
      batchRows:
        before === undefined || after === undefined
          ? NaN
          : (after.rows - before.rows) / (after.batches - before.batches),
    })
  } finally {
    await Promise.all(processes.map((one) => one.stop()))
  }
}

function runOf(
  load: Load,
  loaded: readonly Loaded[],
  spentUs: number,
  rest: Pick<Run, 'warmMs' | 'warm' | 'apart' | 'batchRows'>,
): Run {
  const counted = addCounted(loaded.map((one) => one.counted))
  const seconds = Math.max(...loaded.map((one) => one.seconds))
  const sorts = sortsOf(counted)
  const generator = {
    processes: loaded.length,
    cpus: loaded.reduce((sum, one) => sum + one.cpus, 0),
    busy: Math.max(...loaded.map(({ busy }) => busy)),
    lateUs: Math.max(...loaded.map(({ lateUs }) => lateUs)),
  }
  return {
    seconds,
    ...sorts,
    codes: counted.codes,
    perSecond: sorts.good / seconds,
    latencyUs: latencyOf(counted),
    histogram: counted.histogram,
    percentiles: percentileCurve(counted),
    cpuUs: spentUs / sorts.good,
    cpus: spentUs / 1e6 / seconds,
    ...rest,
    generator: { ...generator, limit: limitOf(load, generator) },
  }
}

function limitOf({ arrivals }: Load, { busy, lateUs }: { busy: number; lateUs: number }): string | null {
  if (arrivals === undefined) return busy >= busyMax ? `busy ${Math.round(100 * busy)} % of the time` : null
  return lateUs > lateUsMax ? `noticed arrivals ${Math.round(lateUs / 100) / 10} ms late (p99)` : null
}

async function warmUp(
  target: Target,
  processes: readonly LoadProcess[],
  warmMsMax: number,
): Promise<{ warmMs: number; warm: boolean }> {
  const costs: number[] = []
  const begun = performance.now()
  let [cpu, replies] = [cpuUs(target.pid), 0]
  while (performance.now() - begun < warmMsMax) {
    await Promise.race([sleep(windowMs), ...processes.map(({ failed }) => failed)])
    const [cpuNow, repliesNow] = [cpuUs(target.pid), processes.reduce((sum, one) => sum + one.replies, 0)]
    costs.push((cpuNow - cpu) / (repliesNow - replies))
    ;[cpu, replies] = [cpuNow, repliesNow]
    if (isWarm(costs)) return { warmMs: performance.now() - begun, warm: true }
  }
  return { warmMs: performance.now() - begun, warm: false }
}

/** One process of the load. */
class LoadProcess {
  /** Before the begin. */
  replies = 0
  /** Rejects when the load cannot go on. */
  readonly failed: Promise<never>
  private readonly child: ChildProcess
  private fail: (error: Error) => void = () => undefined

  constructor() {
    this.child = fork(join(__dirname, 'load-process.js'), { execArgv: [] })
    this.failed = new Promise((_, reject) => (this.fail = reject))
    // It is raced with others, or nobody waits any more.
    this.failed.catch(() => undefined)
    this.child.on('message', (message: FromLoad) => {
      if (typeof message !== 'object') return
      if ('error' in message) this.fail(new Error(message.error))
      else if ('replies' in message) this.replies = message.replies
    })
    this.child.once('exit', (code, signal) => this.fail(new Error(`a load process ended (${signal ?? code})`)))
  }

  tell(message: ToLoad): void {
    this.child.send(message)
  }

  /** The first message that `of` makes something of. */
  next<T>(of: (message: FromLoad) => T | null): Promise<T> {
    const found = new Promise<T>((resolve) => {
      const look = (message: FromLoad): void => {
        const value = of(message)
        if (value === null) return
        this.child.off('message', look)
        resolve(value)
      }
      this.child.on('message', look)
    })
    return Promise.race([found, this.failed])
  }

  /** Our own child, by its channel: it ends when that is gone. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return resolve()
      this.child.once('exit', () => resolve())
      this.child.disconnect()
    })
  }
}
