import {
  contextMax,
  DType,
  describeColumn,
  dtypeBytes,
  dtypeNames,
  elementsPerRow,
  type Signature,
} from '@millrace/base'
import { contextIntakeOf, type ContextIntake, type StandIn } from './context-intake'
import { copyBytes } from './copy-bytes'
import { textAt, type RequestView } from './request-view'

/** What the inputs of one workflow version must look like; made once, when it is mapped. */
export interface Intake {
  readonly signature: Signature
  readonly count: number
  readonly names: readonly Buffer[]
  readonly dtype: Int32Array
  /** Bytes of one row of a dense column; of one element of a ragged one. */
  readonly bytesPerRow: Int32Array
  readonly perRequest: Uint8Array
  readonly ragged: Uint8Array
  /** Null for a version that reads no attribute of the context. */
  readonly context: ContextIntake | null
}

export function intakeOf(signature: Signature): Intake {
  const { inputs } = signature
  return {
    signature,
    count: inputs.length,
    names: inputs.map((column) => Buffer.from(column.name, 'utf8')),
    dtype: Int32Array.from(inputs, (column) => DType[column.dtype]),
    bytesPerRow: Int32Array.from(
      inputs,
      (column) => dtypeBytes[DType[column.dtype]]! * (column.ragged ? 1 : elementsPerRow(column)),
    ),
    perRequest: Uint8Array.from(inputs, (column) => (column.per === 'request' ? 1 : 0)),
    ragged: Uint8Array.from(inputs, (column) => (column.ragged ? 1 : 0)),
    context: contextIntakeOf(signature.context ?? []),
  }
}

/** How a request's columns meet an intake: reused, like the view. */
export class Matched {
  /** Rows of the request. */
  rows = 0
  /** Bytes of all its ragged values, each column's padded to 8. */
  heapBytes = 0
  /** Those of them that are texts of the context, which go with every part of the request. */
  contextBytes = 0
  /** By declared column: the input of the request that carries it. */
  readonly input = new Int32Array(256)
  /** By attribute that is read: its place in the request's context; -1: what stands in for it. */
  readonly attribute = new Int32Array(contextMax)
  /** By attribute that is read: a value that counts instead of the request's own, or null; set before `matchContext`. */
  readonly standIn: (StandIn | null)[] = new Array<StandIn | null>(contextMax).fill(null)
  fault = ''
}

/**
 * Checks the inputs of a verified request against what a version takes: every declared column once and nothing else,
 * dtype, shape, equal rows, ascending offsets.
 *
 * @returns false with `out.fault` saying which column, what was expected and what came
 */
export function matchInputs(view: RequestView, intake: Intake, out: Matched): boolean {
  const { count } = intake
  let rows = -1
  let heapBytes = 0
  for (let c = 0; c < count; c++) {
    // Clients send columns in the declared order; others are searched for.
    let i = c
    if (!(i < view.inputCount && nameEquals(view, i, intake.names[c]!))) {
      for (i = 0; i < view.inputCount; i++) if (nameEquals(view, i, intake.names[c]!)) break
      if (i === view.inputCount) return wrong(out, intake, c, 'is missing')
    }
    out.input[c] = i
    if (view.dtype[i] !== intake.dtype[c]!)
      return wrong(out, intake, c, `came as ${dtypeNames[view.dtype[i]!] ?? `dtype ${view.dtype[i]}`}`)
    let columnRows: number
    if (intake.ragged[c] === 1) {
      columnRows = view.offsetsLength[i]! - 1
      if (columnRows < 0) return wrong(out, intake, c, 'came without offsets, of which it needs one more than rows')
      if (!ascending(view, i, intake.bytesPerRow[c]!))
        return wrong(out, intake, c, 'has offsets that do not ascend from 0 to the length of its data')
      heapBytes += (view.dataLength[i]! + 7) & ~7
    } else {
      const bytes = intake.bytesPerRow[c]!
      columnRows = view.dataLength[i]! / bytes
      if (!Number.isInteger(columnRows))
        return wrong(
          out,
          intake,
          c,
          `came with ${view.dataLength[i]} bytes, which is no multiple of the ${bytes} of one row`,
        )
    }
    if (view.shapeLength[i]! > 0 && !shapeFits(view, i, intake, c, columnRows))
      return wrong(
        out,
        intake,
        c,
        `came with shape [${shapeOf(view, i)}] and ${view.dataLength[i]} bytes; ` +
          `a shape is [${['rows', ...intake.signature.inputs[c]!.shape].join(', ')}], or left out`,
      )
    if (intake.perRequest[c] === 1) {
      if (columnRows !== 1) return wrong(out, intake, c, `came with ${columnRows} rows, it is one value per request`)
    } else if (rows < 0) rows = columnRows
    else if (rows !== columnRows)
      return wrong(out, intake, c, `came with ${columnRows} rows, the columns before it with ${rows}`)
  }
  if (view.inputCount !== count) return extra(out, view, intake)
  out.rows = rows < 0 ? 1 : rows
  out.heapBytes = heapBytes
  out.contextBytes = 0
  if (out.rows > 0) return true
  out.fault = 'inputs: 0 rows; a request has at least one'
  return false
}

function nameEquals(view: RequestView, i: number, name: Buffer): boolean {
  const length = view.nameLength[i]!
  if (length !== name.length) return false
  const { words } = view
  const begin = view.nameBegin[i]!
  for (let b = 0; b < length; b++) {
    const at = begin + b
    if (((words[at >>> 2]! >>> ((at & 3) * 8)) & 0xff) !== name[b]!) return false
  }
  return true
}

function ascending(view: RequestView, i: number, elementBytes: number): boolean {
  const { words } = view
  const first = view.offsetsBegin[i]! >>> 2
  const last = first + view.offsetsLength[i]! - 1
  let previous = 0
  if (words[first] !== 0 || words[last] !== view.dataLength[i]) return false
  for (let at = first; at <= last; at++) {
    const offset = words[at]!
    if (offset < previous || offset % elementBytes !== 0) return false
    previous = offset
  }
  return true
}

function shapeFits(view: RequestView, i: number, intake: Intake, c: number, rows: number): boolean {
  const first = view.shapeBegin[i]! >>> 2
  if (view.words[first] !== rows) return false
  if (intake.ragged[c] === 1) return view.shapeLength[i] === 1
  const { shape } = intake.signature.inputs[c]!
  if (view.shapeLength[i] !== shape.length + 1) return false
  for (let d = 0; d < shape.length; d++) if (view.words[first + 1 + d] !== shape[d]) return false
  return true
}

function shapeOf(view: RequestView, i: number): string {
  const first = view.shapeBegin[i]! >>> 2
  return Array.from(view.words.subarray(first, first + view.shapeLength[i]!)).join(',')
}

function wrong(out: Matched, intake: Intake, c: number, what: string): false {
  const column = intake.signature.inputs[c]!
  out.fault = `inputs.${column.name}: ${what}; declared as ${describeColumn(column)}`
  return false
}

function extra(out: Matched, view: RequestView, intake: Intake): false {
  const declared = intake.signature.inputs.map((column) => column.name)
  for (let i = 0; i < view.inputCount; i++) {
    const name = textAt(view, view.nameBegin[i]!, view.nameLength[i]!)
    if (!declared.includes(name)) {
      out.fault = `inputs.${name}: not an input of this workflow, which takes ${declared.join(', ')}`
      return false
    }
  }
  out.fault = 'inputs: a column comes twice'
  return false
}

/**
 * Copies `rows` rows of a matched request, from its row `fromRow` on, to their final places in a slab: the one copy
 * that the road makes.
 *
 * @param places by declared column: the slab's begin of the column, bytes in `memory`
 * @param row, request where in the slab the rows and the per-request values go
 * @param heap, heapUsed the slab's heap: its begin in `memory`, and how much of it is used
 * @returns heapUsed after it
 */
export function copyInputs(
  view: RequestView,
  intake: Intake,
  matched: Matched,
  memory: Uint8Array,
  memoryWords: Uint32Array,
  slab: number,
  places: Int32Array,
  fromRow: number,
  rows: number,
  row: number,
  request: number,
  heap: number,
  heapUsed: number,
): number {
  const { words } = view
  for (let c = 0; c < intake.count; c++) {
    const i = matched.input[c]!
    const whole = intake.perRequest[c] === 1
    const first = whole ? 0 : fromRow
    const n = whole ? 1 : rows
    const target = whole ? request : row
    const place = slab + places[c]!
    if (intake.ragged[c] === 0) {
      const bytesPerRow = intake.bytesPerRow[c]!
      copyBytes(
        view,
        view.dataBegin[i]! + first * bytesPerRow,
        n * bytesPerRow,
        memory,
        memoryWords,
        place + target * bytesPerRow,
      )
      continue
    }
    const offsets = (view.offsetsBegin[i]! >>> 2) + first
    const begin = words[offsets]!
    const length = words[offsets + n]! - begin
    copyBytes(view, view.dataBegin[i]! + begin, length, memory, memoryWords, heap + heapUsed)
    let span = (place >>> 2) + 2 * target
    for (let r = 0; r < n; r++) {
      const at = words[offsets + r]!
      memoryWords[span++] = heapUsed + at - begin
      memoryWords[span++] = words[offsets + r + 1]! - at
    }
    heapUsed = (heapUsed + length + 7) & ~7
  }
  return heapUsed
}

/** Bytes of ragged values in rows `[fromRow, fromRow + rows)`, in the per-request columns and the context, padded as `copyInputs` pads. */
export function heapBytesOf(
  view: RequestView,
  intake: Intake,
  matched: Matched,
  fromRow: number,
  rows: number,
): number {
  let bytes = matched.contextBytes
  for (let c = 0; c < intake.count; c++) {
    if (intake.ragged[c] === 0) continue
    const i = matched.input[c]!
    const offsets = view.offsetsBegin[i]! >>> 2
    const length =
      intake.perRequest[c] === 1
        ? view.dataLength[i]!
        : view.words[offsets + fromRow + rows]! - view.words[offsets + fromRow]!
    bytes += (length + 7) & ~7
  }
  return bytes
}
