import {
  denseView,
  elementsPerRow,
  isRaggedDType,
  type ColumnSpec,
  type DenseDType,
  type Signature,
} from '@millrace/base'
import { kendallTau, rankedRowsMax, topOverlap } from './ranking'

/*
 * How far two answers to one request differ: bytes in, numbers out.
 */

/** Values of an output of one request that are compared; what comes after them is not. */
export const comparedValuesMax = 16_384

/** The bytes of one output of one request: dense values, or texts between offsets. */
export interface OutputBytes {
  readonly data: Uint8Array
  readonly offsets?: Uint32Array | null | undefined
}

/** An output that both versions have. */
export interface ComparedOutput {
  readonly name: string
  /** Places among the outputs of either side. */
  readonly primary: number
  readonly copy: number
  /** Null for texts and bytes, which are equal or not. */
  readonly dtypes: { readonly primary: DenseDType; readonly copy: DenseDType } | null
  readonly perRow: boolean
  /** Values of one row. */
  readonly elements: number
  /** Its values put the rows of a request in an order, the highest first. */
  readonly ranks: boolean
}

/** What is compared of two versions. */
export interface Comparison {
  readonly outputs: readonly ComparedOutput[]
  /** For people: outputs that are not, and why. */
  readonly apart: readonly string[]
}

/** @param ranking the output that ranks; unless given each float output with one value a row is taken for one */
export function comparisonOf(primary: Signature, copy: Signature, ranking: string | undefined): Comparison {
  const outputs: ComparedOutput[] = []
  const apart: string[] = []
  for (const [p, column] of primary.outputs.entries()) {
    const c = copy.outputs.findIndex(({ name }) => name === column.name)
    const other = copy.outputs[c]
    if (other === undefined) apart.push(`${column.name}: the copy does not answer it`)
    else if (!alike(column, other)) apart.push(`${column.name}: is of another kind or shape`)
    else
      outputs.push({
        name: column.name,
        primary: p,
        copy: c,
        dtypes: isRaggedDType(column.dtype)
          ? null
          : { primary: column.dtype as DenseDType, copy: other.dtype as DenseDType },
        perRow: column.per === 'row',
        elements: column.ragged ? 1 : elementsPerRow(column),
        ranks: isRanking(column, ranking),
      })
  }
  for (const { name } of copy.outputs)
    if (!primary.outputs.some((column) => column.name === name)) apart.push(`${name}: only the copy answers it`)
  return { outputs, apart }
}

/** Numbers of any kind are compared with each other. */
function alike(a: ColumnSpec, b: ColumnSpec): boolean {
  return a.per === b.per && isRaggedDType(a.dtype) === isRaggedDType(b.dtype) && a.shape.join() === b.shape.join()
}

function isRanking(column: ColumnSpec, ranking: string | undefined): boolean {
  const one = column.per === 'row' && !column.ragged && elementsPerRow(column) === 1
  return one && (ranking === undefined ? column.dtype === 'f32' || column.dtype === 'f64' : column.name === ranking)
}

/** What differs in one output of one request. */
export class Difference {
  /** Numbers, or texts, that were compared. */
  values = 0
  /** Those that differ by more than the tolerance; texts that are not equal. */
  beyond = 0
  /** Those of them where one side has no number, or an infinite one, and the other has another. */
  infinite = 0
  /** Of the finite absolute differences. A text differs by 1. */
  sum = 0
  max = 0
  /** NaN where the output ranks nothing. */
  tau = NaN
  overlap = NaN

  add(difference: number, tolerance: number): void {
    this.values++
    if (!(difference <= tolerance)) this.beyond++
    if (!(difference < Infinity)) {
      this.infinite++
      return
    }
    this.sum += difference
    if (difference > this.max) this.max = difference
  }
}

export interface Tolerances {
  readonly tolerance: number
  readonly top_k: number
}

/** @param rows of the request */
export function compare(
  output: ComparedOutput,
  primary: OutputBytes,
  copy: OutputBytes,
  rows: number,
  { tolerance, top_k }: Tolerances,
): Difference {
  const difference = new Difference()
  const n = output.perRow ? rows : 1
  if (output.dtypes === null) {
    compareTexts(primary, copy, Math.min(n, comparedValuesMax), difference)
    return difference
  }
  const values = Math.min(n * output.elements, comparedValuesMax)
  const a = valuesOf(output.dtypes.primary, primary.data, values)
  const b = valuesOf(output.dtypes.copy, copy.data, values)
  for (let i = 0; i < values; i++) difference.add(distance(a[i]!, b[i]!), tolerance)
  if (output.ranks && rows > 1) rank(a, b, Math.min(rows, rankedRowsMax), top_k, difference)
  return difference
}

/** Infinity where one side has no number and the other has one. */
function distance(a: number | bigint, b: number | bigint): number {
  if (a === b) return 0
  if (typeof a === 'bigint' && typeof b === 'bigint') return Number(a < b ? b - a : a - b)
  const difference = Math.abs(Number(a) - Number(b))
  if (!Number.isNaN(difference)) return difference
  return Number.isNaN(a) && Number.isNaN(b) ? 0 : Infinity
}

function valuesOf(dtype: DenseDType, data: Uint8Array, length: number): ArrayLike<number | bigint> {
  const width = data.byteLength === 0 ? 1 : denseView(dtype, empty, 0, 0).BYTES_PER_ELEMENT
  // Bytes from elsewhere lie where they lie.
  const aligned = data.byteOffset % width === 0 ? data : new Uint8Array(data)
  return denseView(dtype, aligned.buffer, aligned.byteOffset, length)
}
const empty = new ArrayBuffer(8)

function compareTexts(primary: OutputBytes, copy: OutputBytes, n: number, difference: Difference): void {
  for (let i = 0; i < n; i++) difference.add(textOf(primary, i).equals(textOf(copy, i)) ? 0 : 1, 0)
}

function textOf({ data, offsets }: OutputBytes, i: number): Buffer {
  return Buffer.from(data.buffer as ArrayBuffer, data.byteOffset + offsets![i]!, offsets![i + 1]! - offsets![i]!)
}

const left = new Float64Array(rankedRowsMax)
const right = new Float64Array(rankedRowsMax)

function rank(
  a: ArrayLike<number | bigint>,
  b: ArrayLike<number | bigint>,
  n: number,
  k: number,
  difference: Difference,
): void {
  for (let i = 0; i < n; i++) {
    left[i] = rankable(a[i]!)
    right[i] = rankable(b[i]!)
  }
  difference.tau = kendallTau(left, right, n)
  // The highest of no more rows than that are all of them.
  if (n > k) difference.overlap = topOverlap(left, right, n, k)
}

/** No number ranks behind all others. */
function rankable(value: number | bigint): number {
  const number = Number(value)
  return Number.isNaN(number) ? -Infinity : number
}
