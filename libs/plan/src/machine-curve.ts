import { capacityBound, type LaneModel } from './lane-model'
import { laneOf, layoutsOf, type Layout } from './lanes'
import type { MachineType, PlanQuestion } from './plan-file'
import type { Profile } from './profile'
import { simulate } from './simulate'

/** A machine under one load. */
export interface OperatingPoint {
  readonly requestsPerS: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Share of the time that the front threads, and that the pool threads, work. */
  readonly front: number
  readonly pool: number
  readonly batchRows: number
}

/** What a machine does from little load to all it can. */
export interface MachineCurve {
  readonly machine: MachineType
  readonly layout: Layout
  /** Requests that it answers when it never waits for any; latency has no bound there. */
  readonly capacityPerS: number
  /** What has no time left at that load. */
  readonly saturates: 'front' | 'pool' | 'cores'
  /** By load. Latencies do not go down: what simulated better at a higher load is given the value of the lower. */
  readonly points: readonly OperatingPoint[]
}

/** Loads that are simulated, of the capacity. Beyond the last the latency is whatever a burst makes it. */
const loads = [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
/** Requests that a point is made of: 400 of them are beyond its 99th percentile. */
const requests = 40_000

/** The curves of a machine, one for each layout worth looking at. */
export function curvesOf(question: PlanQuestion, profile: Profile, machine: MachineType): MachineCurve[] {
  return layoutsOf(question, profile, machine).map((layout) => {
    const model = laneOf(question, profile, machine, layout)
    const { throughput, front, pool } = saturate(model, question.seed)
    const points: OperatingPoint[] = []
    for (const load of loads) {
      const point = pointAt(model, layout.lanes, load * throughput, question.seed)
      const before = points.at(-1)
      points.push({
        ...point,
        p50Ms: Math.max(point.p50Ms, before?.p50Ms ?? 0),
        p99Ms: Math.max(point.p99Ms, before?.p99Ms ?? 0),
      })
    }
    const saturates = Math.max(front, pool) < 0.9 ? 'cores' : front > pool ? 'front' : 'pool'
    return { machine, layout, capacityPerS: throughput * layout.lanes * 1e6, saturates, points }
  })
}

/** What a lane does when requests never run out: requests a microsecond, and who works how much of the time. */
export function saturate(model: LaneModel, seed: number): { throughput: number; front: number; pool: number } {
  const bound = capacityBound(model)
  const rows = model.classes.reduce((sum, one) => sum + one.share * one.rows, 0)
  const rowsMax = Math.max(...model.queues.map((queue) => queue.rowsMax))
  const batches = model.queues.length * (1 + model.threads * (model.inFlight + 1))
  // More than all threads hold, and no more than a queue takes.
  const inFlight = Math.ceil(Math.min(model.queueRowsMax / 2, batches * Math.max(rowsMax, rows)) / rows) + 1
  const measureUs = Math.max(requests, 4 * inFlight) / bound
  const load = { inFlight }
  const { throughput, utilisation } = simulate({ model, load, seed, warmUs: measureUs / 2, measureUs })
  return { throughput, ...utilisation }
}

/** @param rate of one lane, requests a microsecond */
function pointAt(model: LaneModel, lanes: number, rate: number, seed: number): OperatingPoint {
  const measureUs = requests / rate
  const result = simulate({ model, load: { rate }, seed, warmUs: measureUs / 8, measureUs })
  return {
    requestsPerS: rate * lanes * 1e6,
    p50Ms: result.latency.quantile(0.5) / 1000,
    p99Ms: result.latency.quantile(0.99) / 1000,
    ...result.utilisation,
    batchRows: result.batchRows,
  }
}

/** What a machine of the curve does at a load: straight between its points; null beyond the last. */
export function at(curve: MachineCurve, requestsPerS: number): OperatingPoint | null {
  const { points } = curve
  const after = points.findIndex((point) => point.requestsPerS >= requestsPerS)
  if (after < 0) return null
  const b = points[after]!
  const a = after === 0 ? b : points[after - 1]!
  const part = a === b ? 0 : (requestsPerS - a.requestsPerS) / (b.requestsPerS - a.requestsPerS)
  const between = (of: (point: OperatingPoint) => number): number => of(a) + part * (of(b) - of(a))
  return {
    requestsPerS,
    p50Ms: between((point) => point.p50Ms),
    p99Ms: between((point) => point.p99Ms),
    // Below the first point work is in proportion to load.
    front: a === b ? (b.front * requestsPerS) / b.requestsPerS : between((point) => point.front),
    pool: a === b ? (b.pool * requestsPerS) / b.requestsPerS : between((point) => point.pool),
    batchRows: between((point) => point.batchRows),
  }
}

/** The highest load, of at most `capacityPercentMax` of its capacity, at which a machine keeps the latencies; 0: none. */
export function sustained(
  curve: MachineCurve,
  { p50_ms, p99_ms }: PlanQuestion['latency'],
  capacityPercentMax: number,
): number {
  return Math.min(
    (curve.capacityPerS * capacityPercentMax) / 100,
    below(curve, (point) => point.p50Ms, p50_ms),
    below(curve, (point) => point.p99Ms, p99_ms),
  )
}

function below({ points }: MachineCurve, of: (point: OperatingPoint) => number, limit = Infinity): number {
  const fails = points.findIndex((point) => of(point) > limit)
  if (fails === 0) return 0
  if (fails < 0) return points.at(-1)!.requestsPerS
  const [a, b] = [points[fails - 1]!, points[fails]!]
  return a.requestsPerS + ((limit - of(a)) / (of(b) - of(a))) * (b.requestsPerS - a.requestsPerS)
}
