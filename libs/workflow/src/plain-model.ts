import type { ColumnSpec } from '@millrace/base'
import { describeSpec, type Model, type ModelFile, type TensorSpec } from '@millrace/engine'
import { batchRowsMaxDefault, theModel, type Workflow } from './define'

/**
 * The workflow of a folder that holds only a model: its tensors, without their first dimension, are the columns.
 * Throws an Error that names the tensor that cannot be a column.
 */
export function workflowOfModel(file: ModelFile, model: Model): Workflow {
  return {
    millrace: 'workflow',
    signature: { inputs: model.inputs.map(columnOfTensor), outputs: model.outputs.map(columnOfTensor) },
    facts: [],
    models: { [theModel]: { format: file.format, path: file.path, inputs: null, outputs: null } },
    batchRowsMax: batchRowsMaxDefault,
    batchWaitUs: 0,
    preprocess: null,
    postprocess: null,
    score: null,
  }
}

function columnOfTensor(spec: TensorSpec): ColumnSpec {
  const [batch, ...shape] = spec.shape
  const tensor = `tensor '${spec.name}' is ${describeSpec(spec)}`
  if (batch === undefined) throw new Error(`${tensor}: it has no row dimension; a workflow file can say what it means`)
  const free = shape.flatMap((n, d) => (n === null ? [d + 1] : []))
  if (free.length > 0)
    throw new Error(
      `${tensor}: dimension ${free.join(', ')} is free; only the first, the rows, may be. ` +
        `Export it with fixed sizes, or write a workflow file that says them`,
    )
  if (spec.dtype !== 'string')
    return { name: spec.name, dtype: spec.dtype, per: 'row', shape: shape as number[], ragged: false }
  if (shape.some((n) => n !== 1))
    throw new Error(`${tensor}: a column of strings has one a row; a workflow file can say where the others come from`)
  return { name: spec.name, dtype: 'string', per: 'row', shape: [], ragged: true }
}
