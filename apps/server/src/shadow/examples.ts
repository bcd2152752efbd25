import { denseView, elementsPerRow, isRaggedDType, type ColumnSpec, type DenseDType } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import type { OutputBytes } from './compare'

/** Of each kind, of one tally. */
export const differencesKept = 4
export const failuresKept = 2
const rowsKept = 8
const valuesKept = 16
const charsKept = 200

type Value = number | string
/** By column, its first rows, and the first values of each; of one value a row, that value. */
export type Shown = Readonly<Record<string, readonly (Value | readonly Value[])[]>>

/** A request whose answers differ. */
export interface Example {
  /** When its copy was compared; ISO 8601. */
  readonly at: string
  /** As the caller numbered it. */
  readonly id: string
  readonly rulesVersion: number
  readonly rows: number
  /** The largest absolute difference of an output; null where one of the versions failed, or has no number. */
  readonly difference: number | null
  /** Null where they are not at hand any more: the version refused them, or they ran in several batches. */
  readonly inputs: Shown | null
  /** Outputs are null where a version failed, and where nothing was there to compare them with. */
  readonly primary: { readonly code: string; readonly outputs: Shown | null }
  readonly copy: { readonly code: string; readonly outputs: Shown | null }
}

/** The worst of what was compared: how many, and how much of each, is bounded. */
export class Examples {
  private readonly differences: { readonly badness: number; readonly example: Example }[] = []
  private readonly failures: Example[] = []

  get all(): readonly Example[] {
    return [...this.differences.map(({ example }) => example), ...this.failures]
  }

  /** @param badness the larger the worse; 0 is no difference */
  differed(badness: number, make: () => Example): void {
    const { differences } = this
    if (badness === 0) return
    if (differences.length === differencesKept && badness <= differences.at(-1)!.badness) return
    differences.push({ badness, example: make() })
    differences.sort((a, b) => b.badness - a.badness)
    differences.length = Math.min(differences.length, differencesKept)
  }

  /** One version answered, the other did not: the last ones are kept. */
  failed(make: () => Example): void {
    if (this.failures.length === failuresKept) this.failures.shift()
    this.failures.push(make())
  }
}

/** The inputs of request `r` of a batch. */
export function shownInputs(batch: Batch, r: number, memory: SharedArrayBuffer): Shown {
  const { layout } = batch.queue
  const { signature } = layout
  const heap = batch.offset + layout.heap
  return shown(signature.inputs, (column, c) => {
    const [begin, end] = column.per === 'row' ? [batch.rowBegin[r]!, batch.rowBegin[r + 1]!] : [r, r + 1]
    const at = batch.offset + layout.inputs[c]!
    if (!column.ragged) {
      const n = elementsPerRow(column)
      const values = denseView(column.dtype as DenseDType, memory, at, end * n).subarray(begin * n)
      return {
        rows: end - begin,
        values: (row) => values.subarray(row * n, Math.min(row * n + valuesKept, (row + 1) * n)),
      }
    }
    const spans = new Uint32Array(memory, at, 2 * end).subarray(2 * begin)
    return {
      rows: end - begin,
      values: (row) => ragged(column, new Uint8Array(memory, heap + spans[2 * row]!, spans[2 * row + 1]!)),
    }
  })
}

/** Outputs of one request, as they were compared. */
export function shownOutputs(outputs: readonly ColumnSpec[], answer: readonly OutputBytes[], rows: number): Shown {
  return shown(outputs, (column, c) => {
    const { data, offsets } = answer[c]!
    const n = elementsPerRow(column)
    return {
      rows: column.per === 'row' ? rows : 1,
      values: (row) => {
        if (offsets) return ragged(column, data.subarray(offsets[row], offsets[row + 1]))
        // A copy: the bytes lie where they lie.
        const bytes = new Uint8Array(data.subarray((data.byteLength / (column.per === 'row' ? rows : 1)) * row))
        return denseView(column.dtype as DenseDType, bytes.buffer, 0, Math.min(n, valuesKept))
      },
    }
  })
}

interface Rows {
  readonly rows: number
  readonly values: (row: number) => ArrayLike<number | bigint> | string
}

function shown(columns: readonly ColumnSpec[], rowsOf: (column: ColumnSpec, c: number) => Rows): Shown {
  return Object.fromEntries(
    columns.map((column, c) => {
      const { rows, values } = rowsOf(column, c)
      const first = Array.from({ length: Math.min(rows, rowsKept) }, (_, row) => {
        const own = values(row)
        if (typeof own === 'string') return own
        const plain = Array.from(own as ArrayLike<number>, plainValue)
        return column.shape.length === 0 && !column.ragged ? plain[0]! : plain
      })
      return [column.name, first]
    }),
  )
}

function ragged(column: ColumnSpec, bytes: Uint8Array): ArrayLike<number | bigint> | string {
  if (isRaggedDType(column.dtype)) {
    const text = Buffer.from(new Uint8Array(bytes.subarray(0, 4 * charsKept)))
    return column.dtype === 'string'
      ? text.toString('utf8').slice(0, charsKept)
      : text.toString('base64').slice(0, charsKept)
  }
  const width = denseView(column.dtype as DenseDType, new ArrayBuffer(8), 0, 0).BYTES_PER_ELEMENT
  const length = Math.min(valuesKept, Math.floor(bytes.byteLength / width))
  return denseView(column.dtype as DenseDType, new Uint8Array(bytes).buffer, 0, length)
}

/** Bigints and what is no number have no JSON of their own. */
function plainValue(value: number | bigint): Value {
  return typeof value === 'number' && Number.isFinite(value) ? value : String(value)
}
