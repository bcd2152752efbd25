import { codeNames, trafficClasses, type TrafficClass } from '@millrace/base'
import type { Table } from '@millrace/rules'
import { histogramOf, type HistogramSnapshot } from './histogram'
import { whyNot, type LaneParts } from './lane'
import type { Standing } from './lane-version'
import { allocationResults, type AllocationResult } from './allocator'
import { countersOfLabel } from './mapping'
import { isLimited, rowsOf, waitUsOf } from './pool-limits'
import type { ServedVersion } from './served-version'
import { snapshotOfTally, type ShadowSnapshot } from './shadow/snapshot'
import type { Routed } from './versions'

/** How often a lane looks how late its event loop is. */
export const eventLoopLookMs = 10

/** What the supervisor looks at each second; plain numbers, since the lane's start. */
export interface LaneGlance {
  readonly lane: number
  readonly pid: number
  /** Serving: every mapped version is ready and the lane is not draining. */
  readonly ready: boolean
  /** Why not ready; empty when ready. */
  readonly notReady: readonly string[]
  readonly rulesVersion: number
  /** `objective` is empty for requests refused before they were routed. */
  readonly requests: readonly {
    readonly objective: string
    readonly workflow: string
    readonly version: number
    readonly rule: string
    readonly traffic: TrafficClass
    readonly code: string
    readonly count: number
  }[]
  /** By what requests say their tenant is: empty for none, `other` for those without a place of their own. */
  readonly tenants: readonly { readonly tenant: string; readonly code: string; readonly count: number }[]
  /** Requests that an allocator's experiment was asked about, by how they came by their cell. */
  readonly allocations: readonly { readonly result: AllocationResult; readonly count: number }[]
  /** Requests that wait for an allocator. */
  readonly allocatorWaiting: number
  /** Microseconds, of rules whose times are compared: canaries that are stopped when they are slow, and defaults. */
  readonly ruleLatencies: readonly {
    readonly objective: string
    readonly workflow: string
    readonly version: number
    readonly rule: string
    readonly histogram: HistogramSnapshot
  }[]
  readonly shadows: readonly ShadowSnapshot[]
  /** Versions that get no copies for a while, since they ended a thread; ISO 8601. */
  readonly shadowPauses: readonly { readonly version: string; readonly until: string; readonly why: string }[]
  readonly arena: { readonly usedBytes: number; readonly usedSlabs: number; readonly totalBytes: number }
  readonly requestsInFlight: number
  /** WebSockets that are open, and what clients of any kind have not taken yet. */
  readonly sockets: { readonly websocket: number; readonly unreadBytes: number }
  readonly pools: readonly {
    readonly name: string
    readonly device: string
    readonly threads: number
    readonly readyThreads: number
    readonly batchesInFlight: number
    /** Threads replaced since the start. */
    readonly restarts: number
    /** Of those that are ready: in native code for too long. */
    readonly stuckThreads: number
  }[]
  /** Since the last scrape. */
  readonly eventLoopDelayUs: { readonly mean: number; readonly p99: number; readonly max: number }
  readonly rssBytes: number
}

/** Everything a lane tells its supervisor, also what grows with the versions, hundreds of them, and with the objectives. */
export interface LaneSnapshot extends LaneGlance {
  /** By objective, the versions that may answer: its default, then those of experiments. */
  readonly objectives: Readonly<Record<string, readonly string[]>>
  /** Microseconds, by workflow version. */
  readonly latencies: readonly {
    readonly workflow: string
    readonly version: number
    readonly stage: 'total' | 'queue' | 'facts' | 'score'
    readonly histogram: HistogramSnapshot
  }[]
  readonly batchRows: readonly {
    readonly workflow: string
    readonly version: number
    readonly histogram: HistogramSnapshot
  }[]
  readonly queueRows: readonly { readonly workflow: string; readonly version: number; readonly rows: number }[]
  /** What a pool takes of a version at once, where that is found by trying, configured, or bounded by memory. */
  readonly batchLimits: readonly {
    readonly pool: string
    readonly workflow: string
    readonly version: number
    readonly rows: number
    readonly waitUs: number
    /** Rows that fit the memory of its device; null while all do. */
    readonly rowsFit: number | null
    /** Runs that did not fit, since the start. */
    readonly tooLarge: number
  }[]
  readonly workflows: readonly Standing[]
}

/** The numbers of this moment but for what grows with versions and objectives: that takes milliseconds. */
export function glanceOf(parts: LaneParts, mapped: Routed): LaneGlance {
  const { index, config, arena, pools, road, allocator, transport, eventLoop } = parts
  const notReady = notReadyOf(parts, mapped)
  const { table } = mapped
  return {
    lane: index,
    pid: process.pid,
    ready: notReady.length === 0,
    notReady,
    rulesVersion: table.version,
    requests: counted(road.counts.counts, (i) => ({
      ...road.counts.labels[Math.floor(i / countersOfLabel)]!,
      traffic: trafficClasses[Math.floor(i / codeNames.length) % trafficClasses.length]!,
      code: codeNames[i % codeNames.length]!,
    })),
    tenants: counted(road.tenants.counts, (i) => ({
      tenant: road.tenants.names[Math.floor(i / codeNames.length)]!,
      code: codeNames[i % codeNames.length]!,
    })),
    allocations: allocationResults
      .map((result, i) => ({ result, count: allocator.counts[i]! }))
      .filter(({ result, count }) => result !== '' && count > 0),
    allocatorWaiting: allocator.waiting,
    ruleLatencies: [...road.counts.latencies].map(([begin, buckets]) => {
      return { ...road.counts.labels[begin / countersOfLabel]!, histogram: histogramOf(buckets) }
    }),
    shadows: road.tallies.all.map(snapshotOfTally),
    shadowPauses: road.shadows.runner.paused(),
    arena: { usedBytes: arena.usedBytes, usedSlabs: arena.usedBlocks, totalBytes: arena.totalBytes },
    requestsInFlight: road.waiting,
    sockets: { websocket: transport.sockets, unreadBytes: transport.unreadBytes },
    pools: pools.map(({ pool, device }, p) => ({
      name: pool.name,
      device,
      threads: pool.threads,
      readyThreads: pool.ready,
      batchesInFlight: pool.ready * config.pools[p]!.inFlight - pool.free,
      restarts: pool.restarts,
      stuckThreads: pool.stuck,
    })),
    eventLoopDelayUs: {
      mean: lateUs(eventLoop.mean),
      p99: lateUs(eventLoop.percentile(99)),
      max: lateUs(eventLoop.max),
    },
    rssBytes: process.memoryUsage.rss(),
  }
}

/** The numbers of this moment. */
export function snapshotOf(parts: LaneParts, mapped: Routed): LaneSnapshot {
  const { config, versions } = parts
  const served = versions.all.flatMap(({ served }) => served ?? [])
  const named = (version: ServedVersion): { workflow: string; version: number } => {
    return { workflow: version.description.name, version: version.description.version }
  }
  return {
    ...glanceOf(parts, mapped),
    objectives: objectivesOf(mapped.table),
    latencies: served.flatMap((version) =>
      (
        [
          ['total', version.totalUs],
          ['queue', version.queueUs],
          ['facts', version.factsUs],
          ['score', version.scoreUs],
        ] as const
      ).map(([stage, buckets]) => ({ ...named(version), stage, histogram: histogramOf(buckets) })),
    ),
    batchRows: served.map((version) => ({ ...named(version), histogram: histogramOf(version.batchRows) })),
    queueRows: served.map((version) => ({
      ...named(version),
      rows: version.interactive.rowsWaiting + version.bulk.rowsWaiting,
    })),
    batchLimits: served.flatMap((version) =>
      version.limits.filter(isLimited).map((limit) => ({
        pool: config.pools[limit.pool]!.name,
        ...named(version),
        rows: Math.min(rowsOf(limit), version.interactive.layout.rowsMax),
        waitUs: waitUsOf(limit),
        rowsFit: Number.isFinite(limit.fits) ? limit.fits : null,
        tooLarge: limit.tooLarge,
      })),
    ),
    workflows: versions.describe(),
  }
}

/** What is counted of those that came; most of them did not, and nothing is made for these: it is asked each second. */
function counted<T>(counts: ArrayLike<number>, named: (i: number) => T): (T & { readonly count: number })[] {
  const all: (T & { readonly count: number })[] = []
  for (let i = 0; i < counts.length; i++) if (counts[i]! > 0) all.push({ ...named(i), count: counts[i]! })
  return all
}

/** One look at each route: there may be tens of thousands. */
function objectivesOf(table: Table): Record<string, string[]> {
  const versions = new Map(table.objectives.map((objective) => [objective, new Set<string>()]))
  for (const { objective, workflow, version } of table.routes) versions.get(objective)?.add(`${workflow}@${version}`)
  return Object.fromEntries([...versions].map(([objective, names]) => [objective, [...names]]))
}

/** A version that is only had by override does not keep a lane from being ready. */
function notReadyOf({ road, pools }: LaneParts, { table, versions }: Routed): string[] {
  const reasons = new Set<string>()
  if (road.draining) reasons.add('the lane drains')
  for (const [route, version] of versions.entries())
    if (!version.ready && table.routes[route]!.kind !== 'override') reasons.add(whyNot(version))
  for (const { pool } of pools) if (pool.serving === 0) reasons.add(`pool ${pool.name} has no thread that runs`)
  return [...reasons]
}

/** How much later than it should a look came, of the nanoseconds since the one before it; NaN before the first. */
function lateUs(sinceNs: number): number {
  const us = sinceNs / 1000 - eventLoopLookMs * 1000
  return us > 0 ? us : 0
}
