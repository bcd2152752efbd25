import type { Code, DenseArray, DenseDType, Strings, StringsWriter } from '@millrace/base'
import type { BatchColumns } from '@millrace/batch'
import type { Workflow } from './define'
import { Lists } from './lists'

/** What a batch is doing; named when it fails. */
export type Phase = 'facts' | 'preprocess' | 'score' | 'postprocess'

/** Where a batch reports to. */
export interface BatchSink {
  /** Microseconds, written before `runBatch` ends. */
  factsUs: number
  scoreUs: number
  /** Called once for a request that is refused; its outputs mean nothing. */
  refuse(request: number, code: Code, message: string): void
  /** User code, the store or the engine threw: every request of the batch is refused after it, or has a fact with defaults. */
  failed(phase: Phase, error: unknown): void
}

type FactColumns = Readonly<Record<string, DenseArray | Strings>>

/** The one object that a batch allocates for user code: `Batch` of define.ts, untyped. */
export class BatchContext {
  readonly rows: number
  readonly requests: number
  readonly requestOf: Uint32Array
  readonly inputs: Readonly<Record<string, DenseArray | Strings | Lists>>
  readonly context: BatchColumns['context']
  readonly outputs: Readonly<Record<string, DenseArray | StringsWriter>>
  readonly facts: Record<string, FactColumns> = {}
  readonly found: Record<string, Uint8Array> = {}
  refusedRequests = 0
  /** By request, 1 when refused; made when the first one is. */
  private refused: Uint8Array | null = null

  constructor(
    columns: BatchColumns,
    readonly lists: readonly ListColumn[],
    private readonly sink: BatchSink,
  ) {
    this.rows = columns.rows
    this.requests = columns.requests
    this.requestOf = columns.requestOf
    this.inputs = lists.length === 0 ? columns.inputs : withLists(columns.inputs, lists)
    this.context = columns.context
    // `outputs.score = scores` would be lost: it throws, and names the column.
    this.outputs = Object.freeze(columns.outputs)
  }

  refuse(request: number, code: Code, message: string): void {
    if (!(request >= 0 && request < this.requests)) throw new RangeError(`request ${request} of ${this.requests}`)
    this.refused ??= new Uint8Array(this.requests)
    if (this.refused[request] === 1) return
    this.refused[request] = 1
    this.refusedRequests++
    this.sink.refuse(request, code, message)
  }

  isRefused(request: number): boolean {
    return this.refused !== null && this.refused[request] === 1
  }
}

/** An input column of lists of numbers. */
export interface ListColumn {
  readonly name: string
  readonly dtype: DenseDType
}

export function listColumns(workflow: Workflow): ListColumn[] {
  return workflow.signature.inputs.flatMap(({ name, dtype, ragged }) =>
    ragged && dtype !== 'string' && dtype !== 'bytes' ? [{ name, dtype }] : [],
  )
}

function withLists(inputs: BatchColumns['inputs'], lists: readonly ListColumn[]): BatchContext['inputs'] {
  const out: Record<string, DenseArray | Strings | Lists> = { ...inputs }
  for (const { name, dtype } of lists) out[name] = new Lists(dtype, inputs[name] as Strings)
  return out
}
