import { describeColumn, type ColumnSpec } from '@millrace/base'
import { describeSpec, type Model, type TensorSpec } from '@millrace/engine'
import type { TensorDTypes } from './declare'
import type { Workflow } from './define'
import type { LoadedModel } from './loaded'

/** Throws an Error that names the first declaration of the workflow that one of its models does not keep. */
export function checkModels(workflow: Workflow, models: readonly LoadedModel[]): void {
  const several = workflow.score !== null
  for (const { name, model } of models) {
    const declared = workflow.models[name]
    const where = several ? `models.${name}` : 'model'
    checkNamed(`${where}.inputs`, declared?.inputs ?? null, model.inputs, several || workflow.preprocess !== null)
    checkNamed(`${where}.outputs`, declared?.outputs ?? null, model.outputs, false)
    if (!several) checkColumns(workflow, model)
  }
}

/** Columns that are tensors of the one model. */
function checkColumns(workflow: Workflow, model: Model): void {
  const { inputs, outputs } = workflow.signature
  if (workflow.preprocess === null)
    for (const spec of model.inputs)
      checkMapped(
        'input',
        inputs.find((column) => column.name === spec.name),
        spec,
      )
  if (workflow.postprocess === null)
    for (const column of outputs) {
      const spec = model.outputs.find((output) => output.name === column.name)
      if (spec === undefined)
        throw new Error(
          `output '${column.name}' is no output of the model (${list(model.outputs)}); rename it or write a postprocess`,
        )
      if (column.per === 'request')
        throw new Error(`output '${column.name}' is per request, a model's output is per row: write a postprocess`)
      checkMapped('output', column, spec)
    }
}

/**
 * Rows that one batch takes: as declared, or 1 where columns are tensors and the model's first dimension is 1.
 * Throws where it is fixed at more.
 */
export function batchRowsMax(workflow: Workflow, models: readonly LoadedModel[]): number {
  if (workflow.score !== null || workflow.preprocess !== null) return workflow.batchRowsMax
  for (const spec of models.flatMap(({ model }) => model.inputs)) {
    const first = spec.shape[0]
    if (first === null) continue
    if (first === 1) return 1
    throw new Error(`model input '${spec.name}' is ${describeSpec(spec)}: its first dimension, the rows, is free or 1`)
  }
  return workflow.batchRowsMax
}

function checkNamed(where: string, declared: TensorDTypes | null, specs: readonly TensorSpec[], all: boolean): void {
  if (declared === null) return
  for (const [name, dtype] of Object.entries(declared)) {
    const spec = specs.find((other) => other.name === name)
    if (spec === undefined) throw new Error(`${where}.${name}: the model has ${list(specs)}`)
    if (spec.dtype !== dtype) throw new Error(`${where}.${name} is declared ${dtype}, the model has ${spec.dtype}`)
  }
  for (const spec of all ? specs : [])
    if (!Object.hasOwn(declared, spec.name))
      throw new Error(`${where} leaves out '${spec.name}' (${describeSpec(spec)}), which the model needs`)
}

function checkMapped(what: 'input' | 'output', column: ColumnSpec | undefined, spec: TensorSpec): void {
  const tensor = `model ${what} '${spec.name}' (${describeSpec(spec)})`
  const instead = `write a ${what === 'input' ? 'preprocess' : 'postprocess'}`
  if (column === undefined) throw new Error(`${tensor} is no column of the workflow; declare it or ${instead}`)
  const [, ...inner] = spec.shape
  // Bytes are strings to a model: its strings need not be text.
  const strings = spec.dtype === 'string' && (column.dtype === 'string' || column.dtype === 'bytes')
  const dense = spec.dtype === column.dtype && !column.ragged
  const same =
    dense && column.shape.length === inner.length && column.shape.every((n, d) => inner[d] === null || inner[d] === n)
  // A scalar column fits a tensor of [rows, 1], and the other way round.
  const scalar = (dense || strings) && isOne(column.shape) && isOne(inner)
  if (!same && !scalar)
    throw new Error(`${tensor} does not fit the column ${describeColumn(column)}; change it or ${instead}`)
}

function isOne(shape: readonly (number | null)[]): boolean {
  return shape.every((n) => n === 1)
}

function list(specs: readonly TensorSpec[]): string {
  return specs.map((spec) => `'${spec.name}' ${describeSpec(spec)}`).join(', ')
}
