import type { Clock } from '@millrace/base'
import { Header, type Batch, type BatchQueue } from '@millrace/batch'
import type { Config } from '../config'
import { runTask, type RoadPool } from '../dispatcher'
import type { Versions } from '../versions'
import { gatherMs, mayCopy, nextRows, pauseMs, restsFor, restUsMax } from './policy'

export interface RunnerOptions {
  readonly config: Config
  readonly versions: Versions
  /** In the order in which they are offered work. */
  readonly pools: readonly RoadPool[]
  readonly clock: Clock
  /** A thread has no batch any more: requests come before further copies. */
  readonly freed: () => void
  /** The server drains: threads end, and get no more copies. */
  readonly draining: () => boolean
  readonly warn: (message: string) => void
  /** A batch is back: its slab has the answers. */
  readonly ran: (batch: Batch) => void
  /** Its thread ended, or was ended. */
  readonly lost: (batch: Batch) => void
}

/** A version that ended a thread gets no copies for a while. */
interface Pause {
  readonly label: string
  /** Microseconds, by the lane's clock. */
  readonly untilUs: number
  readonly ms: number
  readonly why: string
}

/** Gives copies to threads that nobody else wants. */
export class Runner {
  /** Rows of copies that were not given to a thread. */
  rowsWaiting = 0
  /** By version. */
  private readonly pauses = new Map<number, Pause>()
  /** By pool: threads that run a batch of copies. */
  private readonly copying: Int32Array
  /** By pool: until when it has none, microseconds. */
  private readonly restsUntilUs: Float64Array
  private gathering = false

  constructor(private readonly options: RunnerOptions) {
    this.copying = new Int32Array(options.pools.length)
    this.restsUntilUs = new Float64Array(options.pools.length)
  }

  /** Versions that get no copies now. */
  paused(): { readonly version: string; readonly until: string; readonly why: string }[] {
    const { clock } = this.options
    const nowUs = clock.nowUs()
    return [...this.pauses.values()]
      .filter(({ untilUs }) => untilUs > nowUs)
      .map(({ label, untilUs, why }) => ({
        version: label,
        until: new Date(clock.nowMs() + (untilUs - nowUs) / 1000).toISOString(),
        why,
      }))
  }

  isPaused(version: number, nowUs: number): boolean {
    const pause = this.pauses.get(version)
    return pause !== undefined && nowUs < pause.untilUs
  }

  /** Rows were admitted. They are looked at again when they have gathered. */
  admitted(rows: number): void {
    this.rowsWaiting += rows
    if (!this.gathering) this.gather()
  }

  /** The oldest batch of a queue, which has one. */
  take(queue: BatchQueue, nowUs: number): Batch {
    const batch = queue.take(nowUs)
    this.rowsWaiting -= batch.rows
    return batch
  }

  dispatch(nowUs: number): void {
    const { pools, draining } = this.options
    if (draining()) return
    for (let p = 0; p < pools.length && this.rowsWaiting > 0; p++) {
      const { pool, shadow } = pools[p]!
      if (shadow.waiting.length === 0 || nowUs < this.restsUntilUs[p]!) continue
      for (;;) {
        const { idle } = pool.open
        if (!mayCopy({ idle, copying: this.copying[p]!, wanted: isWanted(pools[p]!) })) break
        const queue = shadow.next(nowUs)
        if (queue === null) break
        this.run(p, this.take(queue, nowUs))
      }
    }
  }

  private gather(): void {
    this.gathering = true
    this.options.clock.after(gatherMs, () => {
      this.gathering = false
      this.options.freed()
      if (this.rowsWaiting > 0) this.gather()
    })
  }

  private run(p: number, batch: Batch): void {
    const { pools, config } = this.options
    batch.pool = p
    this.copying[p]!++
    pools[p]!.pool.runAlone(runTask(batch), config.shadowRunMs, (error) => {
      if (error === null) this.ran(p, batch)
      else this.lost(p, batch, error)
    })
  }

  private ran(p: number, batch: Batch): void {
    const { versions, clock, freed, ran } = this.options
    const { queue } = batch
    const runUs = queue.words[(batch.offset >>> 2) + Header.runUs]!
    this.copying[p]!--
    this.restsUntilUs[p] = clock.nowUs() + Math.min(restUsMax, restsFor * runUs)
    queue.rowsLimit = nextRows(batch.rows, runUs, queue.rowsLimit, versions.of(batch).interactive.rowsLimit)
    freed()
    ran(batch)
  }

  private lost(p: number, batch: Batch, error: Error): void {
    const { freed, lost, draining } = this.options
    this.copying[p]!--
    // Else it is no fault of the version.
    if (!draining()) this.pause(batch, error)
    lost(batch)
    freed()
  }

  private pause(batch: Batch, { message: why }: Error): void {
    const { clock, warn, versions } = this.options
    const { id } = batch.queue
    const { label } = versions.of(batch)
    const before = this.pauses.get(id)
    const ms = before === undefined ? pauseMs.first : Math.min(pauseMs.most, 2 * before.ms)
    this.pauses.set(id, { label, ms, untilUs: clock.nowUs() + 1000 * ms, why })
    warn(`${label} ended a thread that ran copies for it (${why}); it gets none for ${ms / 1000} s`)
  }
}

/** Rows of requests wait that the pool could run. */
function isWanted({ interactive, bulk }: RoadPool): boolean {
  return interactive.waiting.length + bulk.waiting.length > 0
}
