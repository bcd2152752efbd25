import type { PoolThread } from '@millrace/pool'
import { emptyDescription, type VersionDescription } from '@millrace/workflow'
import type { LoadTask, UnloadTask } from '@millrace/worker'
import type { Wanted } from './lane-messages'
import type { LanePool } from './lane-pools'
import type { LaneVersion, OnPool } from './lane-version'
import type { Versions } from './versions'

const idlePollMs = 10
/** A load that threads ended in so often is not tried again. */
const deathsMax = 2

export interface LoaderEvents {
  /** A version became ready or failed, on the lane or on one of its pools. */
  settled(version: LaneVersion): void
  /** Whether rules in force, or rows that wait or run, still need a version that is to go. */
  needed(version: LaneVersion): boolean
  gone(version: LaneVersion): void
}

/**
 * Loads versions on the threads of a lane, and lets go of them. While a lane serves, it loads one version after the other,
 * and each on one thread of a pool after the other, so that the others go on serving.
 */
export class Loader {
  /** Loads are one after the other. */
  private last: Promise<unknown> = Promise.resolve()
  private stopped = false

  /** @param pools filled before the first thread is there */
  constructor(
    private readonly versions: Versions,
    private readonly pools: readonly LanePool[],
    /** Longest load of a version on a thread. */
    private readonly timeoutMs: number,
    private readonly events: LoaderEvents,
  ) {}

  /** Has the lane load these versions, and no others. What is under way is not said here: the versions know. */
  want(wanted: readonly Wanted[]): void {
    const indexes = new Set(wanted.map(({ index }) => index))
    for (const version of this.versions.all)
      if (!indexes.has(version.index) && version.leave()) void this.unload(version)
    for (const one of wanted) {
      const there = this.versions.get(one.index)
      if (there !== undefined) there.remark = one.remark
      else this.enqueue(this.versions.add(one))
    }
  }

  /** Loads all that is wanted on a thread that starts. Rejects when the thread ends meanwhile. */
  async prepare(p: number, thread: PoolThread): Promise<void> {
    const missing = (): LaneVersion | undefined =>
      this.versions.all.find((version) => {
        const { takes, doomed, threads } = version.pools[p]!
        // One that goes is needed until nobody is decided for it any more.
        const wanted = !version.leaving || this.events.needed(version)
        return takes && doomed === null && wanted && !threads.has(thread)
      })
    for (let version = missing(); version !== undefined; version = missing()) await this.loadOn(version, p, thread)
  }

  /** A thread is prepared, or is gone: what it could load decides with the others. */
  threadsChanged(): void {
    for (const version of this.versions.all) this.settle(version)
  }

  stop(): void {
    this.stopped = true
  }

  private enqueue(version: LaneVersion): void {
    this.last = this.last.then(() => Promise.all(this.pools.map((_, p) => this.loadOnPool(version, p))))
  }

  private async loadOnPool(version: LaneVersion, p: number): Promise<void> {
    for (const thread of this.pools[p]!.pool.all) {
      // One that is being prepared loads it itself.
      if (!thread.prepared || version.leaving || this.stopped) continue
      await thread.aside(() => this.loadOn(version, p, thread)).catch(() => undefined)
    }
    this.settle(version)
  }

  private async loadOn(version: LaneVersion, p: number, thread: PoolThread): Promise<void> {
    const on = version.pools[p]!
    if (!on.takes || on.doomed !== null || on.threads.has(thread)) return
    on.threads.set(thread, null)
    const { index, folder } = version
    const task: LoadTask = { kind: 'load', version: index, folder, entered: on.entered }
    // Batches that it runs meanwhile may be what it ends of.
    const alone = !thread.open && thread.busy === 0
    const late = setTimeout(() => this.giveUp(version, p, thread), this.timeoutMs).unref()
    try {
      on.threads.set(thread, await thread.ask<VersionDescription>(task))
    } catch (error) {
      if (!thread.gone) throw error
      on.deaths += alone ? deathsMax : 1
      if (on.deaths >= deathsMax) on.doomed ??= `the thread that loaded it ended: ${(error as Error).message}`
      throw error
    } finally {
      clearTimeout(late)
      this.settle(version)
    }
  }

  /** What loads for too long fails on the pool, and takes its thread along: nothing else stops code that does not return. */
  private giveUp(version: LaneVersion, p: number, thread: PoolThread): void {
    const on = version.pools[p]!
    const why = `it was still ${on.reached} after ${this.timeoutMs} ms (MILLRACE_LOAD_TIMEOUT_MS)`
    on.doomed ??= why
    thread.giveUp(`${version.label}: ${why}`)
    this.settle(version)
  }

  /** Finds out how a version stands, once the threads that matter have said what came of it. */
  private settle(version: LaneVersion): void {
    const loaded: VersionDescription[] = []
    for (let p = 0; p < this.pools.length; p++) {
      const on = version.pools[p]!
      on.outcome = outcome(version, on, this.pools[p]!.pool.all) ?? on.outcome
      if (on.outcome === null) return
      loaded.push(on.outcome)
    }
    if (this.versions.settle(version, loaded)) this.events.settled(version)
  }

  /** Waits until nothing needs the version, and has the threads let go of it. */
  private async unload(version: LaneVersion): Promise<void> {
    const loading = (): boolean => version.pools.some(({ threads }) => [...threads.values()].includes(null))
    while ((this.events.needed(version) || loading()) && !this.stopped)
      await new Promise((resolve) => setTimeout(resolve, idlePollMs))
    if (this.stopped) return
    const task: UnloadTask = { kind: 'unload', version: version.index }
    const holders = version.pools.flatMap(({ threads }) => [...threads.keys()])
    // A thread that ended has let go of it.
    await Promise.allSettled(holders.map((thread) => thread.ask(task)))
    this.versions.remove(version)
    version.enter('gone')
    this.events.gone(version)
  }
}

const leftOut = 'the pool does not take it (MILLRACE_POOL_<NAME>_WORKFLOWS)'

/** What a pool has of a version: the least that one of its threads has. Null until that is known. */
function outcome(version: LaneVersion, on: OnPool, threads: readonly PoolThread[]): VersionDescription | null {
  for (const thread of on.threads.keys()) if (thread.gone) on.threads.delete(thread)
  if (!on.takes) return emptyDescription(version.folder, 'found', leftOut)
  if (on.doomed !== null) return emptyDescription(version.folder, 'failed', on.doomed)
  // One that replaces another does not count before it takes batches.
  const prepared = threads.filter((thread) => thread.prepared)
  const counting = prepared.length > 0 ? prepared : threads
  const said = counting.map((thread) => on.threads.get(thread) ?? null)
  if (said.length === 0 || said.includes(null)) return null
  return said.find((one) => one!.state !== 'ready') ?? said[0]!
}
