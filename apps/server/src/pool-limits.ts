import { BatchSizer, Header, type Batch, type BatchQueue } from '@millrace/batch'
import type { Calls } from './calls'
import type { PoolConfig } from './config'

/** What one pool takes of one version at once, as its batches show. */
export interface PoolLimit {
  /** Index of the pool. */
  readonly pool: number
  /** Rows that the pool is configured to take; Infinity: all. */
  readonly rowsMax: number
  /** Microseconds that rows wait for company when only this pool serves the version; null: what the sizer says. */
  readonly waitUs: number | null
  /** Null where the limit is not looked for. */
  readonly sizer: BatchSizer | null
  /** Rows that fit the memory of its device; Infinity while all do. */
  fits: number
  /** Runs that did not fit. */
  tooLarge: number
}

interface Queues {
  readonly interactive: BatchQueue
  readonly bulk: BatchQueue
  /** Of the pools that served the version when the lane started. */
  readonly placed: readonly PoolLimit[]
  /** Of those that do now. */
  readonly limits: readonly PoolLimit[]
}

/** @param versionWaitUs what the version's workflow asks for */
export function poolLimit(config: PoolConfig, pool: number, rowsMax: number, versionWaitUs: number): PoolLimit {
  const auto = config.batch === 'auto'
  return {
    pool,
    rowsMax: typeof config.batch === 'number' ? config.batch : Infinity,
    waitUs: config.batchWaitUs ?? (auto && versionWaitUs === 0 ? null : versionWaitUs),
    sizer: auto ? new BatchSizer(rowsMax) : null,
    fits: Infinity,
    tooLarge: 0,
  }
}

/** Something other than the size of its slabs decides how many rows the pool takes, or did. */
export function isLimited(limit: PoolLimit): boolean {
  return limit.sizer !== null || limit.tooLarge > 0 || rowsOf(limit) !== Infinity
}

/** Rows that the pool wants in one batch. */
export function rowsOf({ rowsMax, sizer, fits }: PoolLimit): number {
  return Math.min(rowsMax, fits, sizer?.rows ?? Infinity)
}

export function waitUsOf({ waitUs, sizer }: PoolLimit): number {
  return waitUs ?? sizer!.waitUs
}

/**
 * Takes note of what a batch took; its calls are not answered yet.
 *
 * @param words of the arena
 */
export function observeBatch(version: Queues, batch: Batch, words: Uint32Array, nowUs: number, calls: Calls): void {
  const { queue, rows, openedUs, takenUs, predictedUs } = batch
  queue.wait.answered(rows, openedUs, takenUs, words[(batch.offset >>> 2) + Header.runUs]!, predictedUs, nowUs)
  const limit = version.placed.find(({ pool }) => pool === batch.pool)!
  const header = batch.offset >>> 2
  const fits = words[header + Header.rowsFit]! || Infinity
  if (limit.sizer === null && limit.fits === fits && words[header + Header.tooLarge] === 0) return
  limit.fits = fits
  limit.tooLarge += words[header + Header.tooLarge]!
  limit.sizer?.observe(batch.rows, words[header + Header.runUs]!, leastBudgetUs(batch, calls), nowUs)
  applyLimits(version)
}

/** The least time that a request of the batch gave. */
function leastBudgetUs(batch: Batch, { deadlineUs, receivedUs }: Calls): number {
  let least = Infinity
  for (let r = 0; r < batch.requests; r++) {
    const call = batch.call[r]!
    least = Math.min(least, deadlineUs[call]! - receivedUs[call]!)
  }
  return least
}

/**
 * Batches gather up to what the pool that takes the most wants; another takes them as they are, in parts if it must.
 * Rows wait for company only when every pool wants that.
 */
export function applyLimits({ limits, interactive, bulk }: Queues): void {
  if (limits.length === 0) return
  const rows = Math.max(...limits.map(rowsOf))
  const waitUs = Math.min(...limits.map(waitUsOf))
  for (const queue of [interactive, bulk]) {
    queue.rowsLimit = Math.min(rows, queue.layout.rowsMax)
    queue.waitUs = waitUs
  }
}
