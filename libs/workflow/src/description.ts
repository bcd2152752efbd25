import type { Signature } from '@millrace/base'
import type { ModelFormat, TensorSpec } from '@millrace/engine'

/** Where a version stands. Forward only; `failed` from any of the first four. */
export type VersionState = 'found' | 'loading' | 'validating' | 'warming' | 'ready' | 'draining' | 'gone' | 'failed'

/** Those that a thread which loads a version goes through. */
export const loadStates: readonly VersionState[] = ['loading', 'validating', 'warming']

/** A version as a folder: `workflows/<name>/<version>/`. */
export interface VersionFolder {
  readonly name: string
  readonly version: number
  /** Absolute path. */
  readonly path: string
  /** Absolute path of the `workflow.ts` or `workflow.js` beside the model, or null for a folder with only a model file. */
  readonly workflowFile: string | null
}

/** A model of a version, with its own tensors. */
export interface ModelDescription {
  readonly name: string
  readonly format: ModelFormat
  readonly engine: string
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
}

/** What everybody but the worker knows of a loaded version. Plain data: crosses threads by structured clone. */
export interface VersionDescription {
  readonly name: string
  readonly version: number
  readonly state: VersionState
  /** Why it failed, in words that say what to change, or why nobody loads it; null unless `failed` or `found`. */
  readonly reason: string | null
  /** Empty columns when failed. */
  readonly signature: Signature
  /** Rows that one batch takes at most. */
  readonly batchRowsMax: number
  /** Microseconds that the first row of a batch may wait for more rows; 0 unless a launch-bound device gains from it. */
  readonly batchWaitUs: number
  /** The one model is named `model`; empty for a workflow without. */
  readonly models: readonly ModelDescription[]
  /** Names of fact tables it reads. */
  readonly facts: readonly string[]
  readonly golden: { readonly passed: number; readonly failed: number } | null
  /** Whether batches ran before it took traffic: else the first real ones are slower. */
  readonly warmed: boolean
  readonly loadMs: number
}
