import type { Seats } from '@millrace/pool'
import type { VersionDescription } from '@millrace/workflow'

/** What a thread says of a version; 0 until one has. */
export const Loaded = { ready: 1, failed: 2 } as const

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
  /** Versions that the pool runs, as `name`, `name@version`, with `*` for any text; empty: all. */
  readonly workflows: readonly string[]
  /** A byte for each version: whether the thread of the pool that started last could load it (`Loaded`). */
  readonly loaded: SharedArrayBuffer
}

/** One closed batch. The thread knows the layout from (workflow version, rowsMax). */
export interface RunTask {
  readonly kind: 'run'
  /** Index into the list that `describe` answered. */
  readonly version: number
  readonly rowsMax: number
  /** Block in the arena. */
  readonly offset: number
  readonly blockBytes: number
}

/** Asks a thread what it loaded. Every thread of a pool loads the same folders in the same (sorted) order. */
export interface DescribeTask {
  readonly kind: 'describe'
}

export interface ThreadDescription {
  readonly versions: readonly VersionDescription[]
  /** Linux thread id; 0 where there is none. */
  readonly tid: number
  /** CPUs that the kernel says this thread may run on, read back after pinning; null where it cannot be read. */
  readonly cpus: readonly number[] | null
  /** Why pinning failed, else null. */
  readonly pinning: string | null
}

export type Task = RunTask | DescribeTask
