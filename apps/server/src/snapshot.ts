import type { VersionDescription } from '@millrace/workflow'

/** A histogram as plain data: `counts` has one entry more than `bounds` (above all bounds). */
export interface HistogramSnapshot {
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
  readonly sum: number
  readonly count: number
}

/** Everything a lane tells its supervisor: plain numbers, since the lane's start. */
export interface LaneSnapshot {
  readonly lane: number
  readonly pid: number
  /** Serving: every mapped version is ready and the lane is not draining. */
  readonly ready: boolean
  /** Why not ready; empty when ready. */
  readonly notReady: readonly string[]
  readonly rulesVersion: number
  /** By objective, the versions that may answer: its default, then those of experiments. */
  readonly objectives: Readonly<Record<string, readonly string[]>>
  /** `objective` is empty for requests refused before they were routed. */
  readonly requests: readonly {
    readonly objective: string
    readonly workflow: string
    readonly version: number
    readonly code: string
    readonly count: number
  }[]
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
  readonly arena: { readonly usedBytes: number; readonly usedSlabs: number; readonly totalBytes: number }
  readonly requestsInFlight: number
  readonly sockets: { readonly websocket: number }
  readonly pools: readonly {
    readonly name: string
    readonly device: string
    readonly threads: number
    readonly readyThreads: number
    readonly batchesInFlight: number
    /** Threads replaced since the start. */
    readonly restarts: number
  }[]
  readonly eventLoopDelayUs: { readonly mean: number; readonly p99: number; readonly max: number }
  readonly rssBytes: number
  readonly workflows: readonly VersionDescription[]
}
