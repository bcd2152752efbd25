import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeNames, pace, seededRandom } from '@millrace/base'
import { encodeRequest } from '@millrace/wire'
import { build, type Histogram } from 'hdr-histogram-js'
import { Connection, readFrame, scheduleOf, webSocketFrames } from '@millrace/load'
import { mlpRequest } from '../workloads/mlp'

/** So many requests a second, for so long. */
export interface Phase {
  readonly perSecond: number
  readonly ms: number
}

export interface OpenLoadOptions {
  readonly port: number
  readonly sockets: number
  readonly objective: string
  readonly deadlineUs: number
  /** Of the requests, from 0 to 1, at random; the others are interactive. */
  readonly bulkShare: number
  readonly phases: readonly Phase[]
}

/** What became of the requests of one class that were due in one phase. */
export interface ClassResult {
  readonly due: number
  /** Answered OK within their deadline, counted from when they were due. */
  readonly good: number
  /** Answered OK, but later. */
  readonly late: number
  /** By the name of its code: what was refused. */
  readonly refused: Readonly<Record<string, number>>
  /** Of what was answered OK: milliseconds from when it was due. */
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface PhaseResult {
  readonly interactive: ClassResult
  readonly bulk: ClassResult
  /** How late requests were sent, 99th percentile, milliseconds: what of the latencies is the load's own doing. */
  readonly lagP99Ms: number
  /** From the phase's begin until all interactive ones of a tenth of a second were answered OK in time; null: never. */
  readonly wellAfterMs: number | null
}

/** Interactive requests of a tenth of a second: how many were due, and how many of them were answered in time. */
interface Tenth {
  due: number
  good: number
}

/**
 * Loads one after the other, open loops: requests are due at random times, whatever the server does, and some of them are
 * bulk. Resolves when all are answered, each once.
 *
 * @param begin called when a phase begins, and when the last one is over
 */
export async function runOpenLoad(options: OpenLoadOptions, begin: (phase: number) => void): Promise<PhaseResult[]> {
  const { port, sockets, deadlineUs, bulkShare, objective } = options
  const random = seededRandom(2026)
  const frames = webSocketFrames(
    (['interactive', 'bulk'] as const).map((priority) =>
      encodeRequest({ id: 1n, ...mlpRequest(objective, 1), deadlineUs, priority }),
    ),
  )
  /** By id; taken away with its answer. */
  const waiting = new Map<number, { readonly dueMs: number; readonly counts: PhaseCounts; readonly bulk: number }>()
  const failures: Error[] = []
  const failed = (error: Error): void => void failures.push(error)
  const answered = (_: Connection, id: number, code: number, nowMs: number): void => {
    const one = waiting.get(id)
    if (one === undefined) return failed(new Error(`request ${id} was answered twice, or was never sent`))
    waiting.delete(id)
    one.counts.answered(one.bulk, one.dueMs, nowMs, code)
  }
  const listener = { replied: answered, read: () => undefined }
  const connections: Connection[] = []
  for (let s = 0; s < sockets; s++)
    connections.push(await Connection.open(port, 'websocket', readFrame, listener, failed))
  const results: PhaseCounts[] = []
  let id = 0
  for (const [p, { perSecond, ms }] of options.phases.entries()) {
    begin(p)
    const counts = new PhaseCounts(ms, deadlineUs / 1000, performance.now())
    const next = scheduleOf({ kind: 'poisson', perSecond }, [], { part: 0, parts: 1, seed: p + 1 })
    const until = (): number => {
      const at = next()
      return at < ms ? at : Infinity
    }
    const send = (dueMs: number): void => {
      const bulk = random() < bulkShare ? 1 : 0
      waiting.set(++id, { dueMs, counts, bulk })
      counts.sent(bulk, dueMs, performance.now())
      connections[id % sockets]!.send(frames.withId(bulk, id))
    }
    await pace(until, send, { napMs: 0.5 }).done
    results.push(counts)
  }
  begin(options.phases.length)
  const end = performance.now() + deadlineUs / 1000 + 5000
  while (waiting.size > 0 && failures.length === 0 && performance.now() < end) await sleep(10)
  for (const connection of connections) connection.close()
  const [failure] = failures
  if (failure !== undefined) throw failure
  if (waiting.size > 0) throw new Error(`${waiting.size} requests were not answered`)
  return results.map((counts) => counts.result())
}

const tenthMs = 100

class PhaseCounts {
  private readonly classes = [new ClassCounts(), new ClassCounts()] as const
  private readonly lag = histogram()
  private readonly tenths: Tenth[]

  constructor(
    ms: number,
    private readonly deadlineMs: number,
    private readonly begunMs: number,
  ) {
    this.tenths = Array.from({ length: Math.ceil(ms / tenthMs) }, () => ({ due: 0, good: 0 }))
  }

  sent(bulk: number, dueMs: number, now: number): void {
    this.classes[bulk]!.due++
    if (bulk === 0) this.tenthOf(dueMs).due++
    this.lag.recordValue(Math.max(1, Math.round((now - dueMs) * 1000)))
  }

  answered(bulk: number, dueMs: number, now: number, code: number): void {
    const counts = this.classes[bulk]!
    if (code !== 0) {
      const name = codeNames[code]!
      counts.refused[name] = (counts.refused[name] ?? 0) + 1
      return
    }
    const ms = now - dueMs
    counts.latency.recordValue(Math.max(1, Math.round(ms * 1000)))
    if (ms > this.deadlineMs) return void counts.late++
    counts.good++
    if (bulk === 0) this.tenthOf(dueMs).good++
  }

  result(): PhaseResult {
    const [interactive, bulk] = this.classes
    const well = this.tenths.findIndex(({ due, good }) => due === good && due > 0)
    return {
      interactive: interactive.result(),
      bulk: bulk.result(),
      lagP99Ms: this.lag.getValueAtPercentile(99) / 1000,
      wellAfterMs: well < 0 ? null : (well + 1) * tenthMs,
    }
  }

  private tenthOf(dueMs: number): Tenth {
    return this.tenths[Math.min(this.tenths.length - 1, Math.floor((dueMs - this.begunMs) / tenthMs))]!
  }
}

class ClassCounts {
  due = 0
  good = 0
  late = 0
  readonly refused: Record<string, number> = {}
  readonly latency = histogram()

  result(): ClassResult {
    const { due, good, late, refused, latency } = this
    const ms = (percentile: number): number => latency.getValueAtPercentile(percentile) / 1000
    return { due, good, late, refused, p50Ms: ms(50), p99Ms: ms(99) }
  }
}

/** Of microseconds. */
function histogram(): Histogram {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 })
}
