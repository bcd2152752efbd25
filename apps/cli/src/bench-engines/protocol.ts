import type { ColumnSpec } from '@millrace/base'
import type { OfflineAnswer } from '@millrace/workflow'
import type { JsonInputs } from './made-up'

/** What is loaded in a process: one version, its models on `engine` where that takes them. */
export interface Job {
  readonly repository: string
  readonly name: string
  readonly version: number
  readonly engine: string
  /** The engines that models which `engine` does not take may run on. */
  readonly others: readonly string[]
  readonly device: string
  /** CPUs that the engine uses. */
  readonly threads: number
  /** Of the requests that are made up where there are no golden ones. */
  readonly seed: number
  /** Requests of the objective that are in a recording, in the place of golden ones. */
  readonly traffic?: { readonly file: string; readonly objective: string }
  /** Rows of each request: its own over and over, or the first of them. As it is unless given. */
  readonly requestRows?: number
}

export type Ask =
  | { readonly ask: 'load'; readonly job: Job }
  | ({ readonly ask: 'measure' } & MeasureAsk)
  | ({ readonly ask: 'profile' } & MeasureAsk)

export interface MeasureAsk {
  readonly rows: number
  /** Batches run until this is over, one at least. */
  readonly ms: number
}

export interface Loaded {
  /** What the version takes. */
  readonly inputs: readonly ColumnSpec[]
  /** Requests that it was run with, as JSON. */
  readonly requests: readonly JsonInputs[]
  /** Models that run on the engine, by name. */
  readonly models: readonly string[]
  /** Of all models. */
  readonly formats: readonly string[]
  readonly rowsMax: number
  readonly golden: boolean
  /** Largest of the golden requests'; of made-up ones a common one. */
  readonly tolerance: number
  readonly answers: readonly OfflineAnswer[]
}

export interface Measured {
  /** Microseconds of a batch, median of those that ran: facts, functions and models. */
  readonly batchUs: number
  /** Of it in models. */
  readonly modelUs: number
  readonly batches: number
}

/** How long batches took that nothing else on the machine interrupted, microseconds. */
export interface Profiled {
  readonly rows: number
  readonly batches: number
  readonly meanUs: number
  readonly minUs: number
  readonly p50Us: number
  readonly p90Us: number
  readonly p99Us: number
  readonly p999Us: number
  /** Batches that were interrupted and are not counted. */
  readonly interrupted: number
}

export type Answer = { readonly failed: string } | Loaded | Measured | Profiled
