import type { Arena } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import { compileRules, RulesError, type Rules, type Table } from '@millrace/rules'
import type { Loaded } from '@millrace/worker'
import type { Config } from './config'
import type { RoadPool } from './dispatcher'
import { enrichmentProblems } from './enrichment-kinds'
import type { PlacedDescription, PoolState } from './placement'
import { applyLimits } from './pool-limits'
import { serveVersion, type ServedVersion } from './served-version'

/** A version as a lane has it. */
export interface LaneVersion {
  /** What threads and batches know it by. */
  readonly index: number
  /** As it was loaded; `describe` says how it stands now. */
  readonly description: PlacedDescription
  /** Null when no pool could load it. */
  readonly served: ServedVersion | null
}

/** Rules with the versions that they route to. */
export interface Routed {
  readonly table: Table
  /** By route of the table. */
  readonly versions: readonly LaneVersion[]
}

const failed: (typeof Loaded)['failed'] = 2
const gone = 'the thread that replaced one could not load it; the log says why'

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

  add(index: number, description: PlacedDescription): void {
    const served =
      description.state === 'ready'
        ? serveVersion(description, index, this.arena, this.config, readyPools(description))
        : null
    this.byIndex.set(index, { index, description, served })
    this.offer()
  }

  /** Of a batch, which only versions that are served have. */
  of(batch: Batch): ServedVersion {
    return this.byIndex.get(batch.queue.id)!.served!
  }

  /** Throws a RulesError with every version that is not here, and every enrichment that one cannot read. */
  compile(rules: Rules, rulesVersion: number): Routed {
    const { all } = this
    const named = all.map(({ description }) => description)
    const table = compileRules(rules, named, rulesVersion)
    const versions = table.routes.map(({ versionIndex }) => all[versionIndex]!)
    const problems = enrichmentProblems(table, (route) => versions[route]!.description.signature.context ?? [])
    if (problems.length > 0) throw new RulesError(problems)
    return { table, versions }
  }

  /**
   * Has the pools serve what their threads could load last.
   *
   * @param loaded by pool and version: what the thread that started last says of it
   * @returns versions that no pool serves any more
   */
  follow(loaded: readonly Uint8Array[]): ServedVersion[] {
    const abandoned: ServedVersion[] = []
    for (const { index, served } of this.byIndex.values()) {
      if (served === null) continue
      served.limits = served.placed.filter(({ pool }) => loaded[pool]![index] !== failed)
      applyLimits(served)
      if (served.limits.length === 0) abandoned.push(served)
    }
    this.offer()
    return abandoned
  }

  /** With what became of them since they were loaded. */
  describe(): PlacedDescription[] {
    return this.all.map(asServed)
  }

  /** Gives the pools the queues of the versions that they serve. */
  private offer(): void {
    this.pools.forEach((pool, p) => {
      const served = this.all.flatMap(({ served }) => (served?.limits.some((limit) => limit.pool === p) ? served : []))
      pool.interactive = served.map(({ interactive }) => interactive)
      pool.bulk = served.map(({ bulk }) => bulk)
    })
  }
}

/** Indexes of the pools that serve a version. */
function readyPools({ pools }: PlacedDescription): number[] {
  return pools.flatMap(({ state }, p) => (state === 'ready' ? [p] : []))
}

function asServed({ description, served }: LaneVersion): PlacedDescription {
  if (served === null || served.limits.length === served.placed.length) return description
  const pools = description.pools.map((one, p): PoolState => {
    const lost = one.state === 'ready' && !served.limits.some(({ pool }) => pool === p)
    return lost ? { ...one, state: 'failed', reason: gone } : one
  })
  return served.limits.length > 0 ? { ...description, pools } : { ...description, state: 'failed', reason: gone, pools }
}
