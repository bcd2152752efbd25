import { addHistograms } from './histogram'
import { addShadows, type ShadowSnapshot } from './shadow/snapshot'
import type { LaneSnapshot } from './snapshot'

/** Sums of counters, by a key of their labels. */
export interface Retired {
  readonly requests: Map<string, LaneSnapshot['requests'][number]>
  readonly tenants: Map<string, LaneSnapshot['tenants'][number]>
  readonly allocations: Map<string, LaneSnapshot['allocations'][number]>
  readonly ruleLatencies: Map<string, LaneSnapshot['ruleLatencies'][number]>
  readonly shadows: Map<string, ShadowSnapshot>
  readonly latencies: Map<string, LaneSnapshot['latencies'][number]>
  readonly batchRows: Map<string, LaneSnapshot['batchRows'][number]>
  readonly threadRestarts: Map<string, ThreadRestarts>
  readonly tooLarge: Map<string, TooLarge>
}

/** Runs that did not fit the memory. */
export interface TooLarge {
  readonly pool: string
  readonly workflow: string
  readonly version: number
  readonly count: number
}

export interface ThreadRestarts {
  readonly lane: number
  readonly pool: string
  readonly count: number
}

export function emptyRetired(): Retired {
  return {
    requests: new Map(),
    tenants: new Map(),
    allocations: new Map(),
    ruleLatencies: new Map(),
    shadows: new Map(),
    latencies: new Map(),
    batchRows: new Map(),
    threadRestarts: new Map(),
    tooLarge: new Map(),
  }
}

/** Adds everything that only ever grows. */
export function addRetired(into: Retired, snapshot: LaneSnapshot): void {
  for (const one of snapshot.requests)
    merge(into.requests, [one.objective, one.workflow, one.version, one.rule, one.traffic, one.code], one, (a, b) => ({
      ...a,
      count: a.count + b.count,
    }))
  for (const one of snapshot.tenants)
    merge(into.tenants, [one.tenant, one.code], one, (a, b) => ({ ...a, count: a.count + b.count }))
  for (const one of snapshot.allocations)
    merge(into.allocations, [one.result], one, (a, b) => ({ ...a, count: a.count + b.count }))
  for (const one of snapshot.ruleLatencies)
    merge(into.ruleLatencies, [one.objective, one.workflow, one.version, one.rule], one, (a, b) => ({
      ...a,
      histogram: addHistograms(a.histogram, b.histogram),
    }))
  for (const one of snapshot.shadows) {
    const { objective, shadow, workflow, version, primary, rule } = one
    merge(into.shadows, [objective, shadow, workflow, version, primary, rule], one, addShadows)
  }
  for (const one of snapshot.latencies)
    merge(into.latencies, [one.workflow, one.version, one.stage], one, (a, b) => ({
      ...a,
      histogram: addHistograms(a.histogram, b.histogram),
    }))
  for (const one of snapshot.batchRows)
    merge(into.batchRows, [one.workflow, one.version], one, (a, b) => ({
      ...a,
      histogram: addHistograms(a.histogram, b.histogram),
    }))
  for (const { pool, workflow, version, tooLarge: count } of snapshot.batchLimits)
    merge(into.tooLarge, [pool, workflow, version], { pool, workflow, version, count }, (a, b) => ({
      ...a,
      count: a.count + b.count,
    }))
  for (const { name: pool, restarts: count } of snapshot.pools)
    merge(into.threadRestarts, [snapshot.lane, pool], { lane: snapshot.lane, pool, count }, (a, b) => ({
      ...a,
      count: a.count + b.count,
    }))
}

/** The counters of lanes that are gone and of those that are there, together. */
export function sumOf(retired: Retired, snapshots: readonly LaneSnapshot[]): Retired {
  const sum: Retired = {
    requests: new Map(retired.requests),
    tenants: new Map(retired.tenants),
    allocations: new Map(retired.allocations),
    ruleLatencies: new Map(retired.ruleLatencies),
    shadows: new Map(retired.shadows),
    latencies: new Map(retired.latencies),
    batchRows: new Map(retired.batchRows),
    threadRestarts: new Map(retired.threadRestarts),
    tooLarge: new Map(retired.tooLarge),
  }
  for (const snapshot of snapshots) addRetired(sum, snapshot)
  return sum
}

function merge<T>(into: Map<string, T>, labels: readonly (string | number)[], one: T, add: (a: T, b: T) => T): void {
  const key = labels.join('\n')
  const there = into.get(key)
  into.set(key, there === undefined ? one : add(there, one))
}
