import type { AttributeKind, DenseArrays, DenseDType, DTypeName, Strings, StringsWriter } from '@millrace/base'
import type { ModelFormat, Tensor, TensorDType, TensorSpec } from '@millrace/engine'
import type { Lists } from './lists'

/*
 * The words a workflow file is written with: column, attribute, field, fact, onnx, tfjs, savedModel. Each returns plain
 * data whose type remembers what was declared, so that `defineWorkflow` can type the whole-batch functions.
 */

export interface ColumnOptions {
  /** `row` (default): one value for each row. `request`: one value for the whole request. */
  readonly per?: 'row' | 'request'
  /** Shape of one row: `[]` (default) a scalar, `[64]` a vector. */
  readonly shape?: readonly number[]
  /** Inputs only: a list of scalars, each row with its own number of them. `string` and `bytes` always are. */
  readonly ragged?: boolean
}

type RaggedOf<D extends DTypeName, O extends ColumnOptions> = D extends 'string' | 'bytes'
  ? true
  : O extends { readonly ragged: true }
    ? true
    : false

/** A declared column; its name is its key in `inputs` or `outputs`. */
export interface Column<D extends DTypeName = DTypeName, R extends boolean = boolean> {
  readonly dtype: D
  readonly per: 'row' | 'request'
  readonly shape: readonly number[]
  readonly ragged: R
}

export function column<D extends DTypeName, const O extends ColumnOptions = Record<never, never>>(
  dtype: D,
  options?: O,
): Column<D, RaggedOf<D, O>> {
  const ragged = dtype === 'string' || dtype === 'bytes' || (options?.ragged ?? false)
  return {
    dtype,
    per: options?.per ?? 'row',
    shape: options?.shape ?? [],
    ragged: ragged as RaggedOf<D, O>,
  }
}

export type InputColumns = Readonly<Record<string, Column>>
/** Ragged outputs are strings or bytes. */
export type OutputColumns = Readonly<Record<string, Column<'string' | 'bytes', true> | Column<DenseDType, false>>>

/** What `batch.inputs.<name>` is: dense columns are row-major, `rows (or requests) x product(shape)` elements. */
export type InputArray<C extends Column> =
  C extends Column<infer D, infer R>
    ? D extends 'string' | 'bytes'
      ? Strings
      : D extends DenseDType
        ? R extends true
          ? Lists<D>
          : DenseArrays[D]
        : never
    : never

/** What `batch.outputs.<name>` is, to be filled. */
export type OutputArray<C extends Column> =
  C extends Column<infer D>
    ? D extends 'string' | 'bytes'
      ? StringsWriter
      : D extends DenseDType
        ? DenseArrays[D]
        : never
    : never

/** The value of an attribute, as a default is written. */
export interface AttributeValues {
  readonly text: string
  readonly number: number
  readonly truth: boolean
}

/** An attribute of the request's context; its name is its key in `context`. */
export interface Attribute<K extends AttributeKind = AttributeKind> {
  readonly kind: K
  /** Null: a request without it is refused. */
  readonly missing: AttributeValues[K] | null
}

/**
 * Declares an attribute of the context that the workflow reads: `attribute('text')`, `attribute('number', { missing: 0 })`.
 * A request that does not have it is refused (INVALID_ARGUMENT), or gets `missing`; one of another kind is refused.
 */
export function attribute<K extends AttributeKind>(
  kind: K,
  options?: { readonly missing: AttributeValues[K] },
): Attribute<K> {
  return { kind, missing: options?.missing ?? null }
}

export type Attributes = Readonly<Record<string, Attribute>>

/** What `batch.context.<name>` is, one value for each request: Strings, Float64Array, or Uint8Array of 0 and 1. */
export type AttributeArray<A extends Attribute> =
  A extends Attribute<infer K> ? (K extends 'text' ? Strings : DenseArrays[K extends 'number' ? 'f64' : 'bool']) : never

/** A field of a fact. */
export interface Field<D extends DTypeName = DTypeName> {
  readonly dtype: D
  readonly shape: readonly number[]
}

/** A dense value of `shape` (`[]`, the default, is a scalar), or `string`/`bytes`. */
export function field<D extends DTypeName>(dtype: D, options?: { readonly shape?: readonly number[] }): Field<D> {
  return { dtype, shape: options?.shape ?? [] }
}

export type Fields = Readonly<Record<string, Field>>

/** What `batch.facts.<fact>.<field>` is; one value per row or per request, as the column that `by` names. */
export type FieldArray<F extends Field> =
  F extends Field<infer D> ? (D extends DenseDType ? DenseArrays[D] : Strings) : never

/** The value of a field, as a default is written. */
export type FieldValue<F extends Field> =
  F extends Field<infer D>
    ? D extends 'string' | 'bytes'
      ? string
      : (D extends 'i64' | 'u64' ? bigint : D extends 'bool' ? boolean | number : number) | readonly number[]
    : never

/** What happens to a key that the table does not have: its request is refused (NOT_FOUND), or every field has a default. */
export type Missing<Fs extends Fields> = 'refuse' | { readonly [K in keyof Fs]: FieldValue<Fs[K]> }

/**
 * What happens while a store of several machines cannot be asked, or does not answer in its time: requests are refused
 * (UNAVAILABLE, DEADLINE_EXCEEDED), or every key is taken for one that is not there. `batch.found` tells which.
 */
export type Away = 'refuse' | 'default'

/** Fields that are made of others: numbers only. */
export type DerivedFields = Readonly<Record<string, Field<DenseDType>>>

/**
 * Columns that are made of a fact's fields alone, `columns.features` of `fields.genre` and the like. A row that a thread
 * keeps is made once, not for each request that asks for it: `fill` must not know of anything else.
 */
export interface Derivation<Fs extends Fields, Ds extends DerivedFields> {
  readonly columns: Ds
  /**
   * Fills `into`, zeros so far, each column `[rows, ...shape]` in row-major order, from `fields` of the same rows: some of
   * a batch's, with defaults in the place of what is missing. What it throws fails the batch in phase `facts`.
   */
  fill(
    fields: { readonly [K in keyof Fs]: FieldArray<Fs[K]> },
    into: { readonly [K in keyof Ds]: FieldArray<Ds[K]> },
    rows: number,
  ): void
}

/** A declared fact: `fields` of the rows of `table` whose keys are in the input column `by` (`string` or `u64`). */
export interface Fact<
  Fs extends Fields = Fields,
  By extends string = string,
  Ds extends DerivedFields = DerivedFields,
> {
  readonly table: string
  readonly by: By
  readonly fields: Fs
  readonly missing: 'refuse' | Readonly<Record<string, number | bigint | boolean | string | readonly number[]>>
  readonly away: Away
  /** In `batch.facts` beside the fields. */
  readonly derived: Ds
  /** What fills them; null when there are none. */
  readonly fill: ((fields: never, into: never, rows: number) => void) | null
}

export function fact<
  const Fs extends Fields,
  const By extends string,
  const Ds extends DerivedFields = Record<never, never>,
>(
  table: string,
  options: {
    readonly by: By
    readonly fields: Fs
    readonly missing: Missing<Fs>
    /** Default `refuse`; `default` where `missing` has defaults. */
    readonly away?: Away
    readonly derive?: Derivation<Fs, Ds>
  },
): Fact<Fs, By, Ds> {
  const { by, fields, missing, away = 'refuse', derive } = options
  return {
    table,
    by,
    fields,
    missing: missing as Fact['missing'],
    away,
    derived: derive?.columns ?? ({} as Ds),
    fill: derive === undefined ? null : (derive.fill.bind(derive) as Fact['fill']),
  }
}

/** Names of the input columns that facts can be fetched by. */
export type KeyColumn<I extends InputColumns> = {
  [K in keyof I & string]: I[K] extends Column<'string', true> | Column<'u64', false> ? K : never
}[keyof I & string]

/** dtypes of a model's tensors by name. */
export type TensorDTypes = Readonly<Record<string, TensorDType>>

/** Tensors that a declaration does not name: numbers. */
type Undeclared = Readonly<Record<string, DenseDType>>

/** The trained artefact that a workflow scores with. */
export interface ModelDeclaration<MI extends TensorDTypes = TensorDTypes, MO extends TensorDTypes = TensorDTypes> {
  readonly format: ModelFormat
  /** Relative to the version's folder, or absolute. */
  readonly path: string
  /** The tensors that the workflow names; checked against the model at load. Null: taken from the model. */
  readonly inputs: MI | null
  readonly outputs: MO | null
  /** Of a SavedModel. */
  readonly signature?: string
}

interface ModelTensors<MI, MO> {
  readonly inputs?: MI
  readonly outputs?: MO
}

function declareModel<const MI extends TensorDTypes = Undeclared, const MO extends TensorDTypes = Undeclared>(
  format: ModelFormat,
  path: string,
  tensors?: ModelTensors<MI, MO>,
): ModelDeclaration<MI, MO> {
  return { format, path, inputs: tensors?.inputs ?? null, outputs: tensors?.outputs ?? null }
}

/** An ONNX file: `onnx('model.onnx', { inputs: { features: 'f32' }, outputs: { score: 'f32' } })`. */
export function onnx<const MI extends TensorDTypes = Undeclared, const MO extends TensorDTypes = Undeclared>(
  path: string,
  tensors?: ModelTensors<MI, MO>,
): ModelDeclaration<MI, MO> {
  return declareModel('onnx', path, tensors)
}

/** The `model.json` of a TFJS graph or layers model; its weight shards are beside it. */
export function tfjs<const MI extends TensorDTypes = Undeclared, const MO extends TensorDTypes = Undeclared>(
  path: string,
  tensors?: ModelTensors<MI, MO>,
): ModelDeclaration<MI, MO> {
  return declareModel('tfjs', path, tensors)
}

/** The folder of a TensorFlow SavedModel; `signature` names the one to run where it is not `serving_default`. */
export function savedModel<const MI extends TensorDTypes = Undeclared, const MO extends TensorDTypes = Undeclared>(
  path: string,
  options?: ModelTensors<MI, MO> & { readonly signature?: string },
): ModelDeclaration<MI, MO> {
  const signature = options?.signature
  return { ...declareModel('savedmodel', path, options), ...(signature !== undefined && { signature }) }
}

/**
 * One model input, asked for with its whole shape. Without `data`: an array of that many zeros to fill; its memory
 * is used again by the next batch. With `data`: that array is the tensor, nothing is copied.
 * Asked for again in the same batch, the last call counts.
 */
export interface IntoTensor<D extends DenseDType> {
  (shape: readonly number[], data?: DenseArrays[D]): DenseArrays[D]
}

/** A model input of strings: `into.text([batch.rows], batch.inputs.text)`. Nothing is copied where `data` is `Strings`. */
export interface IntoStrings {
  (shape: readonly number[], data: Strings | readonly (string | Uint8Array)[]): Strings
}

type IntoAny<D extends TensorDType> = [D] extends ['string'] ? IntoStrings : IntoTensor<Exclude<D, 'string'>>

/** Model inputs by name: `const features = into.features([batch.rows, 64])`. */
export type Into<MI extends TensorDTypes> = { readonly [K in keyof MI]: IntoAny<MI[K]> }

/** Model outputs by name: `from.score.data`, `from.score.shape`; data of strings are `Strings`. Valid until `postprocess` ends. */
export type From<MO extends TensorDTypes> = { readonly [K in keyof MO]: Tensor<MO[K]> }

/** Several models by name. */
export type ModelDeclarations = Readonly<Record<string, ModelDeclaration>>

/** One of several models, as `score` calls it: as often as it likes, with as many rows as it likes. */
export interface RunModel<MI extends TensorDTypes = TensorDTypes, MO extends TensorDTypes = TensorDTypes> {
  /** What the model itself declares; a `null` dimension is free. */
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
  /**
   * `const { boxes } = await models.detect.run({ x: { dtype: 'f32', shape: [n, 3, h, w], data } })`. Nothing is copied.
   * Outputs are valid until the next run of this model. Rejects with an Error that names the model: an input that is
   * missing or does not fit, a run that begins before the last one ended, what the engine says.
   */
  run(inputs: { readonly [K in keyof MI]: Tensor<MI[K]> }): Promise<From<MO>>
}

/** What `score` gets: each declared model under its name. */
export type RunModels<M extends ModelDeclarations> = {
  readonly [K in keyof M]: M[K] extends ModelDeclaration<infer MI, infer MO> ? RunModel<MI, MO> : never
}
