import { elementsPerRow, type ColumnSpec, type Signature } from '@millrace/base'
import { FittingRows } from '@millrace/batch'
import type { Model, ModelFormat, TensorSpec } from '@millrace/engine'
import type { FactStore } from '@millrace/facts'
import { listColumns, type ListColumn } from './context'
import { theModel, type Workflow } from './define'
import type { VersionFolder } from './description'
import { ModelRuns } from './model-runs'
import { ModelInputs } from './tensors'

/** A column that is a model's tensor of the same name. */
export interface MappedColumn {
  readonly column: ColumnSpec
  /** Elements of one row. */
  readonly width: number
  /** The tensor's shape without its rows: the column's, but a scalar column may be a tensor of `[rows, 1]`. */
  readonly inner: readonly number[]
}

/** A model in memory, with its name in the workflow. */
export interface LoadedModel {
  readonly name: string
  readonly format: ModelFormat
  readonly engine: string
  readonly model: Model
}

/** A version with its models in memory, owned by one thread; batches run on it one at a time. */
export class LoadedVersion {
  /** `name@version`. */
  readonly label: string
  readonly signature: Signature
  readonly rowsMax: number
  readonly lists: readonly ListColumn[]
  /** The one model; null where there is none, and where `score` runs several. */
  readonly model: Model | null
  /** What `score` runs. */
  readonly runs: ModelRuns
  readonly modelInputs: ModelInputs
  readonly mappedInputs: readonly MappedColumn[]
  readonly mappedOutputs: readonly MappedColumn[]
  /** What the memory of this thread's device takes at once. */
  readonly fitting: FittingRows

  /** `store` may be null only when the workflow declares no facts. */
  constructor(
    readonly folder: VersionFolder,
    readonly workflow: Workflow,
    readonly models: readonly LoadedModel[],
    readonly store: FactStore | null,
    rowsMax: number,
    /** What the models are on; named where its memory is too small. */
    readonly device = 'cpu',
  ) {
    this.label = `${folder.name}@${folder.version}`
    this.signature = workflow.signature
    this.rowsMax = rowsMax
    this.fitting = new FittingRows(rowsMax)
    this.lists = listColumns(workflow)
    const model = workflow.score === null ? models.find(({ name }) => name === theModel)?.model : undefined
    this.model = model ?? null
    this.runs = new ModelRuns(models)
    this.modelInputs = new ModelInputs(model?.inputs ?? [])
    this.mappedInputs = mapColumns(workflow.signature.inputs, model?.inputs ?? [])
    this.mappedOutputs = mapColumns(workflow.signature.outputs, model?.outputs ?? [])
  }

  dispose(): void {
    for (const { model } of this.models) model.dispose()
  }
}

function mapColumns(columns: readonly ColumnSpec[], specs: readonly TensorSpec[]): MappedColumn[] {
  return columns.flatMap((column) => {
    const spec = specs.find((other) => other.name === column.name)
    if (spec === undefined) return []
    const inner = spec.shape.slice(1)
    const width = elementsPerRow(column)
    return [{ column, width, inner: width === 1 && inner.every((n) => n === 1) ? (inner as number[]) : column.shape }]
  })
}
