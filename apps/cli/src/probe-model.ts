import { denseArray, elementsPerRow, Strings, type ColumnSpec, type DenseDType } from '@millrace/base'
import { describeSpec, type Model, type Tensor, type Tensors, type TensorSpec } from '@millrace/engine'

/** A tensor as a column: what a scaffold says of it. */
export interface ProbedTensor {
  readonly spec: TensorSpec
  /** Shape of one row, free dimensions as they were tried. */
  readonly inner: readonly number[]
  /** Null where it is no column: a tensor without rows, or of several strings a row. */
  readonly column: ColumnSpec | null
}

/** A model as it answered when it was run. */
export interface Probe {
  /** 1 where the model's first dimension is, else null. */
  readonly rowsMax: 1 | null
  readonly inputs: readonly ProbedTensor[]
  readonly outputs: readonly ProbedTensor[]
  /** The inputs that it ran on, and what it gave. */
  readonly given: Tensors
}

/** Sizes that free inner dimensions are tried with. */
const sizes = [1, 8, 32, 64, 224]
/** What inputs are filled with, until the model runs and gives finite numbers. */
const fills = [
  { number: (i: number) => (i % 7) / 7, integer: 1, text: 'text' },
  { number: () => 1, integer: 0, text: '1' },
  { number: () => 0, integer: 0, text: '' },
]

/**
 * Runs the model on examples until it answers, to learn the sizes that its declaration leaves free.
 *
 * Rejects with an Error that names the tensor that no column can be, or with what the model said last.
 */
export async function probeModel(model: Model): Promise<Probe> {
  for (const spec of model.inputs) checkInput(spec)
  const rowsMax = model.inputs.some(({ shape }) => shape[0] === 1) ? 1 : null
  const free = model.inputs.some(({ shape }) => shape.slice(1).includes(null))
  let failure: unknown
  for (const size of free ? sizes : [1])
    for (const fill of fills) {
      const rows = rowsMax ?? 2
      const given = Object.fromEntries(model.inputs.map((spec) => [spec.name, example(spec, rows, size, fill)]))
      try {
        const answer = await model.run(given)
        const outputs = model.outputs.map((spec) => probed(spec, answer[spec.name]!.shape, rows))
        if (!Object.values(answer).every(isFinite)) failure = new Error('its outputs are not finite')
        else if (outputs.every(({ column }) => column === null)) failure = new Error('none of its outputs is by row')
        else
          return {
            rowsMax,
            inputs: model.inputs.map((spec) => probed(spec, given[spec.name]!.shape, rows)),
            outputs,
            given,
          }
      } catch (error) {
        failure = error
      }
    }
  throw failure
}

function checkInput(spec: TensorSpec): void {
  const [first, ...inner] = spec.shape
  const tensor = `model input '${spec.name}' is ${describeSpec(spec)}`
  if (typeof first === 'number' && first !== 1)
    throw new Error(`${tensor}: its first dimension, the rows, must be free or 1; export it so`)
  if (spec.dtype === 'string' && inner.some((n) => n !== 1))
    throw new Error(`${tensor}: a column has one string a row; write its workflow by hand`)
}

type Fill = (typeof fills)[number]

function example({ dtype, shape }: TensorSpec, rows: number, size: number, fill: Fill): Tensor {
  const filled = shape.map((n, d) => (d === 0 ? rows : (n ?? size)))
  const length = filled.reduce((product, n) => product * n, 1)
  if (dtype === 'string') return { dtype, shape: filled, data: Strings.of(new Array<string>(length).fill(fill.text)) }
  const data = denseArray(dtype, length)
  if (dtype === 'f32' || dtype === 'f64') data.forEach((_, i) => (data[i] = fill.number(i)))
  else if (dtype === 'i64' || dtype === 'u64') (data as BigInt64Array).fill(BigInt(fill.integer))
  else (data as Int32Array).fill(fill.integer)
  return { dtype, shape: filled, data } as Tensor<DenseDType>
}

function probed(spec: TensorSpec, shape: readonly number[], rows: number): ProbedTensor {
  const inner = shape.slice(1)
  const scalar = inner.every((n) => n === 1)
  // A first dimension that is fixed at as many as there are rows now is not the rows.
  const ofRows = shape[0] === rows && (spec.shape[0] === null || rows === 1)
  const byRow = ofRows && (spec.dtype !== 'string' || scalar)
  const name = columnName(spec.name)
  const column: ColumnSpec = {
    name,
    dtype: spec.dtype,
    per: 'row',
    shape: scalar ? [] : inner,
    ragged: spec.dtype === 'string',
  }
  return { spec, inner, column: byRow && elementsPerRow(column) > 0 ? column : null }
}

function columnName(tensor: string): string {
  const name = tensor.replace(/[^\w.:/-]/g, '_').slice(0, 100)
  return /^[A-Za-z_]/.test(name) ? name : `_${name}`
}

function isFinite({ data }: Tensor): boolean {
  if ('spans' in data) return true
  for (const value of data) if (typeof value === 'number' && !Number.isFinite(value)) return false
  return true
}
