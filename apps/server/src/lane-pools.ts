import type { Arena } from '@millrace/base'
import {
  deviceOfLane,
  formatCpus,
  formatDevice,
  makeSeats,
  parseDevice,
  Pool,
  type PoolThread,
  type Seats,
} from '@millrace/pool'
import type { DescribeTask, RunTask, ThreadDescription, WorkerData } from '@millrace/worker'
import type { Config, PoolConfig } from './config'
import type { Log } from './log'

/** A pool that runs, with what of it is this lane's. */
export interface LanePool {
  readonly pool: Pool
  readonly seats: Seats
  /** As operators know it: `cuda:1` is one GPU of the machine. */
  readonly device: string
  /** Resolved when all of its threads are prepared; rejected when one cannot start. */
  readonly opened: Promise<void>
}

export interface LanePoolEvents {
  /** Prepares a thread that starts. */
  readonly prepare: (thread: PoolThread) => Promise<void>
  /** Threads were lost or replaced. */
  readonly changed: () => void
  /** A batch runs for too long. */
  readonly timedOut: (task: RunTask) => void
  /** Threads take batches that did not. */
  readonly freed: () => void
}

/** Starts the threads of a lane's pool on their seats. A pool that cannot replace a thread ends the process. */
export function openPool(
  p: number,
  lane: number,
  { pools, seating, repository, facts, factsTimeoutMs, startTimeoutMs, batchTimeoutMs }: Config,
  arena: Arena,
  log: Log,
  { prepare, changed, timedOut, freed }: LanePoolEvents,
): LanePool {
  const config = pools[p]!
  const seats = makeSeats(seating.lanes[lane]!.pools[p]!)
  const device = deviceOfLane(parseDevice(config.device), lane)
  const workerData: WorkerData = {
    memory: arena.memory,
    repository,
    facts,
    factsTimeoutMs,
    // Of the GPUs of the machine this process sees one, which is its first.
    device: device.kind === 'cpu' ? 'cpu' : device.kind === 'cuda' ? 'cuda:0' : formatDevice(device),
    seats,
    engines: config.engines,
    engineThreads: config.engineThreads,
    memoryBytes: config.memory,
  }
  let starting = config.threads
  let replacing: NodeJS.Timeout | undefined
  let opened: () => void
  let failed: (reason: Error) => void
  const start = new Promise<void>((resolve, reject) => {
    opened = resolve
    failed = reject
  })
  // Whoever opens the pool awaits it.
  start.catch(() => undefined)
  // A lane all of whose threads are lost answers nobody: it drains, and its supervisor starts another.
  const giveUpWhenNoneServes = (): void => {
    setTimeout(() => {
      if (pool.serving > 0 || replacing !== undefined) return
      log.fatal(
        { pool: config.name },
        `every thread of pool ${config.name} is in native code; the lane drains and ends`,
      )
      process.kill(process.pid, 'SIGTERM')
    }, batchTimeoutMs).unref()
  }
  const pool = new Pool({
    name: config.name,
    workerFile: require.resolve('@millrace/worker'),
    workerData,
    threads: config.threads,
    batchesPerThread: config.inFlight,
    seats,
    batchTimeoutMs,
    onTimeout: (task, ended) => {
      timedOut(task as RunTask)
      if (ended) return
      const left = pool.serving - 1
      const fields = { pool: config.name, left }
      log.error(
        fields,
        `a batch of pool ${config.name} is in native code for more than ${batchTimeoutMs} ms (MILLRACE_BATCH_TIMEOUT_MS), ` +
          `which cannot be ended: its thread gets no more until it is back; ${left} are left`,
      )
      giveUpWhenNoneServes()
    },
    onBack: () => {
      log.info({ pool: config.name }, `a thread of pool ${config.name} is back from native code`)
      changed()
    },
    prepare: async (thread) => {
      try {
        const task: DescribeTask = { kind: 'describe' }
        logPinning(config, await thread.ask<ThreadDescription>(task), log)
      } catch (error) {
        failed(error as Error)
        throw error
      }
      await prepare(thread)
      if (--starting === 0) opened()
    },
    onLost: (reason) => {
      log.error(
        { pool: config.name, err: reason },
        `a thread of pool ${config.name} ended: ${reason.message}; it is replaced`,
      )
      changed()
      // A thread that cannot start again leaves a pool that never comes back: another process may.
      replacing ??= setTimeout(() => {
        log.fatal({ pool: config.name }, `pool ${config.name} could not replace a thread; the lane ends`)
        process.exit(1)
      }, startTimeoutMs).unref()
    },
    onFree: freed,
    onReplaced: () => {
      log.info({ pool: config.name }, `a thread of pool ${config.name} was replaced`)
      changed()
      if (pool.ready < pool.threads) return
      clearTimeout(replacing)
      replacing = undefined
    },
  })
  return { pool, seats, device: formatDevice(device), opened: start }
}

/** Says where the kernel runs a thread, as read back, and warns where that is not what was asked. */
function logPinning(pool: PoolConfig, { tid, cpus, pinning }: ThreadDescription, log: Log): void {
  const fields = { pool: pool.name, tid, cpus: cpus === null ? null : formatCpus(cpus) }
  if (pinning === null) log.info(fields, `pool ${pool.name}: thread ${tid} runs on CPUs ${fields.cpus ?? 'unknown'}`)
  else log.warn(fields, `pool ${pool.name}: thread ${tid} is not pinned: ${pinning}`)
}
