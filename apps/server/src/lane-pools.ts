import type { Arena } from '@millrace/base'
import { deviceOfLane, formatCpus, formatDevice, makeSeats, parseDevice, Pool, type Seats } from '@millrace/pool'
import type { DescribeTask, ThreadDescription, WorkerData } from '@millrace/worker'
import type { Config, PoolConfig } from './config'
import type { Log } from './log'
import type { PlacedDescription } from './placement'

/** A pool that runs, with what of it is this lane's. */
export interface LanePool {
  readonly pool: Pool
  readonly seats: Seats
  /** As operators know it: `cuda:1` is one GPU of the machine. */
  readonly device: string
  /** By version index: what the thread that started last says of it (`Loaded`). */
  readonly loaded: Uint8Array
  /** Called when a thread was replaced. */
  onReplaced: () => void
}

/** Starts the threads of a lane's pool on their seats. A pool that cannot replace a thread ends the process. */
export function openPool(
  p: number,
  lane: number,
  { pools, seating, repository, facts, factsTimeoutMs, startTimeoutMs }: Config,
  versions: number,
  arena: Arena,
  log: Log,
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
    workflows: config.workflows,
    loaded: new SharedArrayBuffer(versions),
  }
  let replacing: NodeJS.Timeout | undefined
  const pool = new Pool({
    name: config.name,
    workerFile: require.resolve('@millrace/worker'),
    workerData,
    threads: config.threads,
    batchesPerThread: config.inFlight,
    seats,
    onLost: (reason) => {
      log.error(
        { pool: config.name, err: reason },
        `a thread of pool ${config.name} ended: ${reason.message}; it is replaced`,
      )
      // A thread that cannot start again leaves a pool that never comes back: another process may.
      replacing ??= setTimeout(() => {
        log.fatal({ pool: config.name }, `pool ${config.name} could not replace a thread; the lane ends`)
        process.exit(1)
      }, startTimeoutMs).unref()
    },
    onReplaced: () => {
      log.info({ pool: config.name }, `a thread of pool ${config.name} was replaced`)
      opened.onReplaced()
      if (pool.ready < pool.threads) return
      clearTimeout(replacing)
      replacing = undefined
    },
  })
  const opened: LanePool = {
    pool,
    seats,
    device: formatDevice(device),
    loaded: new Uint8Array(workerData.loaded),
    onReplaced: () => undefined,
  }
  return opened
}

/** What every thread of a pool loaded, when all have. */
export async function describe({ pool }: LanePool): Promise<readonly ThreadDescription[]> {
  const task: DescribeTask = { kind: 'describe' }
  // The first tasks of a pool go to the least busy thread: one to each.
  return Promise.all(Array.from({ length: pool.threads }, () => pool.run<ThreadDescription>(task)))
}

/** Says where the kernel runs a pool's threads, as read back, and warns where that is not what was asked. */
export function logPinning(pool: PoolConfig, threads: readonly ThreadDescription[], log: Log): void {
  for (const { tid, cpus, pinning } of threads) {
    const fields = { pool: pool.name, tid, cpus: cpus === null ? null : formatCpus(cpus) }
    if (pinning === null) log.info(fields, `pool ${pool.name}: thread ${tid} runs on CPUs ${fields.cpus ?? 'unknown'}`)
    else log.warn(fields, `pool ${pool.name}: thread ${tid} is not pinned: ${pinning}`)
  }
}

/** Says what is not served, and what is served by some pools only. */
export function logPlacement(placed: readonly PlacedDescription[], log: Log): void {
  for (const { name, version, state, reason, pools } of placed) {
    const fields = { workflow: name, version }
    if (state === 'failed') log.error(fields, `${name}@${version} failed to load: ${reason}`)
    else
      for (const one of pools)
        if (one.state === 'failed')
          log.warn({ ...fields, pool: one.pool }, `${name}@${version} does not run on pool ${one.pool}: ${one.reason}`)
  }
}
