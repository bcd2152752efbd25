import type { Arena } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import { compileRules, RulesError, type Rules, type Table } from '@millrace/rules'
import { messageOf, type VersionDescription } from '@millrace/workflow'
import type { Config } from './config'
import type { RoadPool } from './dispatcher'
import { enrichmentProblems } from './enrichment-kinds'
import type { Wanted } from './lane-messages'
import { LaneVersion, OnPool, type Standing } from './lane-version'
import { place } from './placement'
import { applyLimits } from './pool-limits'
import { serveVersion, type ServedVersion } from './served-version'
import { takes } from './takes'

/** Rules with the versions that they route to. */
export interface Routed {
  readonly table: Table
  /** By route of the table. */
  readonly versions: readonly LaneVersion[]
  /** By shadow of the table. */
  readonly shadows: readonly LaneVersion[]
}

/** The versions of a lane: which there are, how they stand, and which pools serve them. */
export class Versions {
  private readonly byIndex = new Map<number, LaneVersion>()

  constructor(
    private readonly arena: Arena,
    private readonly config: Config,
    /** Their queues follow from what is here. */
    private readonly pools: readonly RoadPool[],
  ) {}

  get all(): LaneVersion[] {
    return [...this.byIndex.values()]
  }

  get(index: number): LaneVersion | undefined {
    return this.byIndex.get(index)
  }

  add(wanted: Wanted): LaneVersion {
    const now = Date.now()
    const pools = this.config.pools.map(
      ({ name, device, workflows }) => new OnPool(name, device, takes(workflows, wanted.folder), now),
    )
    for (const on of pools) on.doomed = wanted.doomed
    const version = new LaneVersion(wanted, pools)
    this.byIndex.set(version.index, version)
    return version
  }

  /** Of a batch: what has batches is not removed. */
  of(batch: Batch): ServedVersion {
    return this.byIndex.get(batch.queue.id)!.served!
  }

  /**
   * Each `name@version` is the newest that is ready, or else the newest: what is loaded in the place of another takes over
   * when it is ready. Throws a RulesError with every version that is not here, and every enrichment that one cannot read.
   */
  compile(rules: Rules, rulesVersion: number): Routed {
    const best = new Map<string, LaneVersion>()
    for (const version of this.byIndex.values()) {
      const other = best.get(version.label)
      if (other === undefined || rank(version) >= rank(other)) best.set(version.label, version)
    }
    const named = [...best.values()]
    const folders = named.map(({ folder }) => folder)
    const table = compileRules(rules, folders, rulesVersion)
    const versions = table.routes.map(({ versionIndex }) => named[versionIndex]!)
    const shadows = table.shadows.map(({ versionIndex }) => named[versionIndex]!)
    const problems = enrichmentProblems(table, (route) => versions[route]!.description.signature.context ?? [])
    if (problems.length > 0) throw new RulesError(problems)
    return { table, versions, shadows }
  }

  /**
   * Takes what came of loading a version, the first time or again.
   *
   * @param loaded by pool; `found` where the pool does not take it
   * @returns whether it stands otherwise than before, on the lane or on one of its pools
   */
  settle(version: LaneVersion, loaded: readonly VersionDescription[]): boolean {
    const { description, pools } = place(this.config.pools, loaded)
    const news = version.pools.filter((on, p) => on.settle(pools[p]!.state, pools[p]!.reason))
    const ready = pools.flatMap(({ state }, p) => (state === 'ready' ? [p] : []))
    const { served, leaving } = version
    if (!leaving) version.description = description
    const before = served?.limits.length ?? 0
    if (served !== null) {
      served.limits = served.placed.filter(({ pool }) => ready.includes(pool))
      applyLimits(served)
    } else if (ready.length > 0 && !leaving) this.serve(version, ready)
    this.offer()
    // Of one that goes it is news when nobody is left who runs what still waits for it.
    if (leaving) return before > 0 && served!.limits.length === 0
    return version.enter((version.served?.limits.length ?? 0) > 0 ? 'ready' : 'failed') || news.length > 0
  }

  /** Nothing of it may wait or run. */
  remove(version: LaneVersion): void {
    this.byIndex.delete(version.index)
    this.offer()
  }

  describe(): Standing[] {
    return this.all.map((version) => version.describe())
  }

  private serve(version: LaneVersion, pools: readonly number[]): void {
    try {
      version.served = serveVersion(version.description, version.index, this.arena, this.config, pools)
    } catch (error) {
      version.description = { ...version.description, state: 'failed', reason: messageOf(error) }
    }
  }

  /** Gives the pools the queues of the versions that they serve. */
  private offer(): void {
    this.pools.forEach((pool, p) => {
      const served = this.all.flatMap(({ served }) => (served?.limits.some((limit) => limit.pool === p) ? served : []))
      pool.interactive.serve(served.map(({ interactive }) => interactive))
      pool.bulk.serve(served.map(({ bulk }) => bulk))
      pool.shadow.serve(served.map(({ shadow }) => shadow))
    })
  }
}

function rank({ leaving, ready }: LaneVersion): number {
  return leaving ? 0 : ready ? 2 : 1
}
