import { Code, DType, dtypeBytes, Refusal, type DenseDType } from '@millrace/base'
import { describeKey, encodeKey } from './keys'
import type { FactField, FactRecord, FactTable, FactValue } from './store'
import { isText, validateTable } from './table'

/*
 * A record as bytes, little endian:
 *
 *   | dense fields, each at a fixed offset, in order of declaration, packed | length u32, bytes | length u32, ...
 *                                                                             one for each text field, in order
 *
 * A reader copies dense fields without decoding them.
 */

/** Where the fields of a table's records are. */
export interface RecordPlan {
  readonly table: FactTable
  readonly dense: readonly { readonly field: FactField; readonly offset: number; readonly bytes: number }[]
  readonly text: readonly FactField[]
  /** Bytes of the dense part. */
  readonly denseBytes: number
}

export function planRecord(table: FactTable): RecordPlan {
  let offset = 0
  const dense = table.fields
    .filter((field) => !isText(field.dtype))
    .map((field) => {
      const bytes = elementsOf(field) * dtypeBytes[DType[field.dtype]]!
      const placed = { field, offset, bytes }
      offset += bytes
      return placed
    })
  return { table, dense, text: table.fields.filter((field) => isText(field.dtype)), denseBytes: offset }
}

/** A field of a record that its table does not take. */
export class FieldRefusal extends Refusal {
  constructor(
    table: string,
    key: string | bigint,
    readonly field: string,
    readonly why: string,
  ) {
    super(Code.INVALID_ARGUMENT, `fact table \`${table}\`, key ${describeKey(key)}: field \`${field}\` ${why}`)
  }
}

/** What throws the Refusal that `write` would, for one row. */
export function rowChecker(table: FactTable): (key: string | bigint, record: FactRecord) => void {
  validateTable(table)
  const plan = planRecord(table)
  return (key, record) => {
    encodeKey(table, key)
    encodeRecord(plan, key, record)
  }
}

/** The bytes of one record. Throws a Refusal INVALID_ARGUMENT naming table, key and field. */
export function encodeRecord(plan: RecordPlan, key: string | bigint, record: FactRecord): Buffer {
  const refuse = (field: string, what: string): never => {
    throw new FieldRefusal(plan.table.name, key, field, what)
  }
  for (const field of plan.table.fields) if (record[field.name] === undefined) refuse(field.name, 'is missing')
  for (const name in record)
    if (!plan.table.fields.some((field) => field.name === name)) refuse(name, 'is not declared')

  const texts = plan.text.map((field) => {
    const value = record[field.name]!
    if (field.dtype === 'string' && typeof value === 'string') return Buffer.from(value, 'utf8')
    if (field.dtype === 'bytes' && ArrayBuffer.isView(value)) return value as Uint8Array
    return refuse(field.name, `is ${field.dtype}, not ${describeValue(value)}`)
  })
  const bytes = Buffer.alloc(texts.reduce((sum, text) => sum + 4 + text.length, plan.denseBytes))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (const { field, offset } of plan.dense) {
    const value = record[field.name]!
    const dtype = field.dtype as DenseDType
    if (field.shape.length === 0) {
      if (!setElement[dtype](view, offset, value)) refuse(field.name, `is ${dtype}, not ${describeValue(value)}`)
      continue
    }
    const elements = elementsOf(field)
    if (typeof value !== 'object' || value.length !== elements)
      refuse(field.name, `has shape [${field.shape.join(',')}] (${elements} values), not ${describeValue(value)}`)
    const values = value as ArrayLike<FactValue>
    for (let i = 0; i < elements; i++)
      if (!setElement[dtype](view, offset + i * dtypeBytes[DType[dtype]]!, values[i]!))
        refuse(field.name, `is ${dtype}, not ${describeValue(values[i]!)} (value ${i})`)
  }
  let at = plan.denseBytes
  for (const text of texts) {
    view.setUint32(at, text.length, true)
    bytes.set(text, at + 4)
    at += 4 + text.length
  }
  return bytes
}

/** Writes one element and says whether `value` is one of that type: nothing is rounded, wrapped or parsed. */
const setElement: Readonly<Record<DenseDType, (view: DataView, at: number, value: FactValue) => boolean>> = {
  f32: (view, at, value) => typeof value === 'number' && done(view.setFloat32(at, value, true)),
  f64: (view, at, value) => typeof value === 'number' && done(view.setFloat64(at, value, true)),
  i8: (view, at, value) => isInteger(value, -0x80, 0x7f) && done(view.setInt8(at, value)),
  u8: (view, at, value) => isInteger(value, 0, 0xff) && done(view.setUint8(at, value)),
  i16: (view, at, value) => isInteger(value, -0x8000, 0x7fff) && done(view.setInt16(at, value, true)),
  u16: (view, at, value) => isInteger(value, 0, 0xffff) && done(view.setUint16(at, value, true)),
  i32: (view, at, value) => isInteger(value, -0x8000_0000, 0x7fff_ffff) && done(view.setInt32(at, value, true)),
  u32: (view, at, value) => isInteger(value, 0, 0xffff_ffff) && done(view.setUint32(at, value, true)),
  i64: (view, at, value) => {
    const n = toBigInt(value)
    return n !== null && n === BigInt.asIntN(64, n) && done(view.setBigInt64(at, n, true))
  },
  u64: (view, at, value) => {
    const n = toBigInt(value)
    return n !== null && n === BigInt.asUintN(64, n) && done(view.setBigUint64(at, n, true))
  },
  bool: (view, at, value) =>
    (value === true || value === false || value === 0 || value === 1) && done(view.setUint8(at, Number(value))),
}

function done(_: void): true {
  return true
}

function isInteger(value: FactValue, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}

function toBigInt(value: FactValue): bigint | null {
  if (typeof value === 'bigint') return value
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : null
}

function elementsOf(field: FactField): number {
  return field.shape.reduce((product, n) => product * n, 1)
}

function describeValue(value: FactValue | null): string {
  if (value === null) return 'null'
  if (typeof value === 'object') return `${value.length} values`
  return typeof value === 'string' ? `the text ${describeKey(value)}` : `the ${typeof value} ${String(value)}`
}
