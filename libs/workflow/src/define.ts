import {
  attributeSpec,
  contextMax,
  DType,
  isRaggedDType,
  kindOf,
  type AttributeSpec,
  type Code,
  type ColumnSpec,
  type Signature,
} from '@millrace/base'
import { Derived, type DerivedColumn, type Fill } from './derived'
import { FactColumns } from './fact-columns'
import { rowsMax as rowsMost } from './rows-max'
import type {
  AttributeArray,
  Attributes,
  Fact,
  Field,
  FieldArray,
  Fields,
  From,
  InputArray,
  InputColumns,
  Into,
  KeyColumn,
  ModelDeclaration,
  ModelDeclarations,
  OutputArray,
  OutputColumns,
  RunModels,
  TensorDTypes,
} from './declare'

/** A batch as workflow code sees it: whole columns, no call per row. Valid until the function (or its promise) ends. */
export interface Batch<
  I extends InputColumns,
  O extends OutputColumns,
  F extends Readonly<Record<string, Fact>>,
  C extends Attributes = Record<never, never>,
> {
  readonly rows: number
  readonly requests: number
  /** For each row, the request it belongs to: the index into columns and facts per request. */
  readonly requestOf: Uint32Array
  readonly inputs: { readonly [K in keyof I]: InputArray<I[K]> }
  /** The attributes that are declared, one value for each request: `context.country.at(requestOf[row])`. */
  readonly context: { readonly [K in keyof C]: AttributeArray<C[K]> }
  /** To be filled by `postprocess` (or `score`). Not zeroed: every element is written, or refused. */
  readonly outputs: { readonly [K in keyof O]: OutputArray<O[K]> }
  /** Rows of a refused request hold zeros and empty strings. */
  readonly facts: {
    readonly [K in keyof F]: { readonly [P in keyof F[K]['fields']]: FieldArray<F[K]['fields'][P]> } & {
      readonly [P in keyof F[K]['derived']]: FieldArray<F[K]['derived'][P]>
    }
  }
  /** 1 where the key was in the table, 0 where the declared default stands. */
  readonly found: { readonly [K in keyof F]: Uint8Array }
  /** Refuses one request of the batch; the others are answered. The first refusal of a request counts. */
  refuse(request: number, code: Code, message: string): void
  isRefused(request: number): boolean
}

export interface BatchOptions {
  /** Rows that one batch takes at most; a model whose batch dimension is fixed lowers it. Default 256. */
  readonly rowsMax?: number
  /** Microseconds that the first row may wait for more. Default 0: work-conserving. */
  readonly waitUs?: number
}

/** Facts whose `by` is a `string` or `u64` input column. */
export type FactsOf<I extends InputColumns> = Readonly<Record<string, Fact<Fields, KeyColumn<I>>>>

export interface WorkflowDefinition<
  I extends InputColumns,
  O extends OutputColumns,
  F extends FactsOf<I>,
  MI extends TensorDTypes,
  MO extends TensorDTypes,
  Carried,
  M extends ModelDeclarations,
  C extends Attributes,
> {
  readonly inputs: I
  readonly outputs: O
  /** Attributes of the request's context that its functions read. */
  readonly context?: C
  readonly facts?: F
  /** The one model of a workflow of preprocess, model, postprocess. */
  readonly model?: ModelDeclaration<MI, MO>
  /** Several models by name, run by `score`. */
  readonly models?: M
  readonly batch?: BatchOptions
  /**
   * Columns and facts to model inputs, the whole batch at a time. What it returns is handed to `postprocess`.
   * Left out: input columns are the model inputs of the same names.
   */
  preprocess?(batch: Batch<I, O, F, C>, into: Into<MI>): Carried | Promise<Carried>
  /** Model outputs to output columns. Left out: model outputs are the output columns of the same names. */
  postprocess?(batch: Batch<I, O, F, C>, from: From<MO>, carried: Carried): void | Promise<void>
  /**
   * With `models`, in place of preprocess and postprocess: columns and facts to output columns, the whole batch at a
   * time, through any number of runs of the models.
   */
  score?(batch: Batch<I, O, F, C>, models: RunModels<M>): void | Promise<void>
}

/** A fact as the road reads it. */
export interface FactPlan {
  readonly name: string
  readonly table: string
  readonly by: string
  readonly per: 'row' | 'request'
  readonly key: 'string' | 'u64'
  readonly fields: readonly (Field & { readonly name: string })[]
  readonly missing: Fact['missing']
  readonly away: Fact['away']
  /** What of a batch's rows user code reads. */
  readonly columns: FactColumns
}

type Anything = Batch<InputColumns, OutputColumns, Readonly<Record<string, Fact>>>

/** A defined workflow: what a workflow file exports as its default. */
export interface Workflow {
  readonly millrace: 'workflow'
  readonly signature: Signature
  readonly facts: readonly FactPlan[]
  /** The one model is named `model`; those of a workflow with `score` as they were declared. */
  readonly models: ModelDeclarations
  readonly batchRowsMax: number
  readonly batchWaitUs: number
  readonly preprocess: ((batch: Anything, into: Into<TensorDTypes>) => unknown) | null
  readonly postprocess: ((batch: Anything, from: From<TensorDTypes>, carried: unknown) => unknown) | null
  readonly score: ((batch: Anything, models: RunModels<ModelDeclarations>) => unknown) | null
}

export const batchRowsMaxDefault = 256

/** Name of the one model of a workflow without `score`. */
export const theModel = 'model'

/**
 * Declares a workflow. Names that do not exist (columns, facts, fields, tensors) are compile errors, and for those
 * who write JavaScript, errors when the file is loaded.
 *
 * Throws an Error that names the declaration that is wrong.
 */
export function defineWorkflow<
  const I extends InputColumns,
  const O extends OutputColumns,
  F extends FactsOf<I> = Record<never, never>,
  MI extends TensorDTypes = Record<never, never>,
  MO extends TensorDTypes = Record<never, never>,
  Carried = unknown,
  M extends ModelDeclarations = Record<never, never>,
  const C extends Attributes = Record<never, never>,
>(definition: WorkflowDefinition<I, O, F, MI, MO, Carried, M, C>): Workflow {
  const inputs = columnSpecs('inputs', definition.inputs)
  const outputs = columnSpecs('outputs', definition.outputs)
  for (const output of outputs)
    if (output.ragged && output.dtype !== 'string' && output.dtype !== 'bytes')
      throw new Error(`outputs.${output.name}: a ragged output is 'string' or 'bytes', not '${output.dtype}'`)
  const rowsMax = definition.batch?.rowsMax ?? batchRowsMaxDefault
  if (!Number.isInteger(rowsMax) || rowsMax < 1 || rowsMax > rowsMost)
    throw new Error(`batch.rowsMax is ${rowsMax}; it is an integer from 1 to ${rowsMost}`)
  const waitUs = definition.batch?.waitUs ?? 0
  if (!(waitUs >= 0 && waitUs <= 1_000_000)) throw new Error(`batch.waitUs is ${waitUs}; it is from 0 to 1000000`)
  const models = modelsOf(definition)
  const context = attributeSpecs(definition.context ?? {})
  return {
    millrace: 'workflow',
    signature: { inputs, outputs, ...(context.length > 0 && { context }) },
    facts: Object.entries(definition.facts ?? {}).map(([name, fact]) => factPlan(name, fact, inputs)),
    models,
    batchRowsMax: rowsMax,
    batchWaitUs: waitUs,
    preprocess: (definition.preprocess?.bind(definition) ?? null) as Workflow['preprocess'],
    postprocess: (definition.postprocess?.bind(definition) ?? null) as Workflow['postprocess'],
    score: (definition.score?.bind(definition) ?? null) as Workflow['score'],
  }
}

export function isWorkflow(value: unknown): value is Workflow {
  return typeof value === 'object' && value !== null && (value as Workflow).millrace === 'workflow'
}

function modelsOf(definition: {
  readonly model?: unknown
  readonly models?: ModelDeclarations
  readonly preprocess?: unknown
  readonly postprocess?: unknown
  readonly score?: unknown
}): ModelDeclarations {
  const { model, models, preprocess, postprocess, score } = definition
  if (models === undefined) {
    if (score !== undefined) throw new Error('score runs models: declare them as models: { name: onnx(...) }')
    if (model === undefined && preprocess === undefined && postprocess === undefined)
      throw new Error('a workflow has a model, a preprocess or a postprocess; this one has none of them')
    return model === undefined ? {} : { [theModel]: model as ModelDeclaration }
  }
  if (score === undefined) throw new Error('models are run by a score; this workflow has none')
  if (Object.keys(models).length === 0) throw new Error('models is empty: name at least one')
  if (model !== undefined || preprocess !== undefined || postprocess !== undefined)
    throw new Error('a workflow has models and score, or model, preprocess and postprocess; this one mixes them')
  return models
}

function columnSpecs(where: string, columns: Readonly<Record<string, Omit<ColumnSpec, 'name'>>>): ColumnSpec[] {
  return Object.entries(columns).map(([name, { dtype, per, shape, ragged }]) => {
    const at = `${where}.${name}`
    if (!/^[A-Za-z_][\w.:/-]{0,127}$/.test(name))
      throw new Error(`${at}: a column's name is letters, digits and _ . : / -`)
    if (!Object.hasOwn(DType, dtype))
      throw new Error(`${at}: dtype '${dtype}' is none of ${Object.keys(DType).join(', ')}`)
    if (per !== 'row' && per !== 'request') throw new Error(`${at}: per is 'row' or 'request', not '${per as string}'`)
    if (!Array.isArray(shape) || shape.some((n) => !Number.isInteger(n) || n < 1))
      throw new Error(`${at}: shape is a list of positive integers, without the row dimension`)
    if (ragged && shape.length > 0) throw new Error(`${at}: a ragged column has no shape`)
    return { name, dtype, per, shape, ragged }
  })
}

/** A request that says no traffic class is a real one. */
const realTraffic = 'real'
const given = ['tenant', 'origin', 'traffic']

function attributeSpecs(attributes: Attributes): AttributeSpec[] {
  const entries = Object.entries(attributes)
  if (entries.length > contextMax)
    throw new Error(`context: ${entries.length} attributes; a request carries at most ${contextMax}`)
  return entries.map(([name, { kind, missing }]) => {
    const at = `context.${name}`
    if (!['text', 'number', 'truth'].includes(kind))
      throw new Error(`${at}: is 'text', 'number' or 'truth', not '${kind as string}'`)
    if (given.includes(name) && kind !== 'text') throw new Error(`${at}: is a text in every request, not a ${kind}`)
    if (missing !== null && kindOf(missing) !== kind)
      throw new Error(`${at}: missing is ${JSON.stringify(missing)}, which is no ${kind}`)
    return attributeSpec(name, kind, missing ?? (name === 'traffic' ? realTraffic : null))
  })
}

function factPlan(name: string, fact: Fact, inputs: readonly ColumnSpec[]): FactPlan {
  const by = inputs.find((column) => column.name === fact.by)
  if (by === undefined) throw new Error(`facts.${name}: by '${fact.by}' is none of the inputs ${names(inputs)}`)
  if (by.dtype !== 'string' && !(by.dtype === 'u64' && !by.ragged && by.shape.length === 0))
    throw new Error(`facts.${name}: by '${fact.by}' is a ${by.dtype}; keys are 'string' or 'u64' scalars`)
  const fields = Object.entries(fact.fields).map(([fieldName, field]) => ({ name: fieldName, ...field }))
  if (fields.length === 0) throw new Error(`facts.${name}: no fields`)
  const missing = fact.missing
  if (missing !== 'refuse') {
    if (typeof missing !== 'object' || missing === null)
      throw new Error(`facts.${name}: missing is 'refuse' or a default for each field`)
    for (const field of fields)
      if (!Object.hasOwn(missing, field.name))
        throw new Error(`facts.${name}: no default for field '${field.name}' in missing`)
  }
  if (fact.away === 'default' && missing === 'refuse')
    throw new Error(`facts.${name}: away is 'default', and missing has no default for each field`)
  return {
    name,
    table: fact.table,
    by: fact.by,
    per: by.per,
    key: by.dtype === 'u64' ? 'u64' : 'string',
    fields,
    missing,
    away: fact.away,
    columns: new FactColumns(fields, missing, derivedOf(name, fact)),
  }
}

function derivedOf(name: string, { fields, derived, fill }: Fact): Derived | null {
  if (fill === null) return null
  for (const [column, { dtype }] of Object.entries(derived)) {
    if (Object.hasOwn(fields, column))
      throw new Error(`facts.${name}.derive: '${column}' is a field of the table already`)
    if (isRaggedDType(dtype))
      throw new Error(`facts.${name}.derive.${column}: is ${dtype as string}; derived columns are numbers`)
  }
  const columns = Object.entries(derived).map(
    ([column, { dtype, shape }]): DerivedColumn => ({ name: column, dtype, shape }),
  )
  return new Derived(columns, fill as Fill)
}

function names(columns: readonly ColumnSpec[]): string {
  return columns.map((column) => `'${column.name}'`).join(', ')
}
