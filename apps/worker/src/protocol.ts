import type { DoorTask, Seats } from '@millrace/pool'
import type { VersionDescription, VersionFolder } from '@millrace/workflow'

/** What a thread is started with (Piscina `workerData`). */
export interface WorkerData {
  /** The arena's memory; slabs are offsets in it. */
  readonly memory: SharedArrayBuffer
  readonly repository: string
  /** Where its facts are, where that is not its own folder; else empty. */
  readonly facts: string
  readonly factsTimeoutMs: number
  /** As the engines know it: `cpu`, `cuda:0` (of those that this process sees), `webgpu:0`. */
  readonly device: string
  /** The thread takes one and pins itself to its CPUs before an engine starts. */
  readonly seats: Seats
  /** Engine names in order of preference; empty: every one that is available. */
  readonly engines: readonly string[]
  readonly engineThreads: number
  /** Bytes of the device's memory that its engines may take; null: what there is. */
  readonly memoryBytes: number | null
}

/** One closed batch. The thread knows the layout from (workflow version, rowsMax). */
export interface RunTask {
  readonly kind: 'run'
  /** The number by which it was loaded. */
  readonly version: number
  readonly rowsMax: number
  /** Block in the arena. */
  readonly offset: number
  readonly blockBytes: number
}

/** Asks a thread where it is; answered by its `ThreadDescription`. */
export interface DescribeTask {
  readonly kind: 'describe'
}

/** Has a thread load a version; answered by its `VersionDescription`, ready or failed. Batches run between its steps. */
export interface LoadTask {
  readonly kind: 'load'
  /** A number that no other version has or had. */
  readonly version: number
  readonly folder: VersionFolder
  /** In shared memory, by `loadStates`: when a thread of the pool entered it first, ms since 1970; 0 before. */
  readonly entered: Float64Array
}

/** Has a thread let go of a version of which no batch is under way; no answer but that it is done. */
export interface UnloadTask {
  readonly kind: 'unload'
  readonly version: number
}

export interface ThreadDescription {
  /** Linux thread id; 0 where there is none. */
  readonly tid: number
  /** CPUs that the kernel says this thread may run on, read back after pinning; null where it cannot be read. */
  readonly cpus: readonly number[] | null
  /** Why pinning failed, else null. */
  readonly pinning: string | null
}

export type Task = DoorTask | RunTask | DescribeTask | LoadTask | UnloadTask
export type Answer = ThreadDescription | VersionDescription | undefined
