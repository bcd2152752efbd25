import {
  attributeSpec,
  bytesPerRow,
  DType,
  dtypeBytes,
  isRaggedDType,
  murmur3,
  type AttributeSpec,
  type AttributeValue,
  type ColumnSpec,
  type Context,
  type DTypeName,
  type Signature,
} from '@millrace/base'
import type { WireColumn } from '@millrace/wire'
import type { Chance } from '../chance'

/*
 * What simulated workflows take and answer. Each output is a number that follows from every byte of its row's inputs, of
 * its request's and of its context, drawn out to the output's length: a byte that came to another row, or to another
 * version, changes it.
 */

/** A column's values by row, as bytes; one alone where the column is per request. */
export type Values = readonly Uint8Array[]

/** Rows are told apart by it: `keyOf`. */
export const keyColumn: ColumnSpec = { name: 'key', dtype: 'u64', per: 'row', shape: [], ragged: false }
const whoColumn: ColumnSpec = { name: 'who', dtype: 'u64', per: 'request', shape: [], ragged: false }

const denseTypes: readonly DTypeName[] = ['f32', 'f64', 'i8', 'u8', 'i16', 'u16', 'i32', 'u32', 'i64', 'u64']
const rowsPerKey = 2 ** 16

export function keyOf(serial: number, row: number): bigint {
  return BigInt(serial) * BigInt(rowsPerKey) + BigInt(row)
}

export function serialOf(key: bigint): { readonly serial: number; readonly row: number } {
  return { serial: Number(key / BigInt(rowsPerKey)), row: Number(key % BigInt(rowsPerKey)) }
}

/** Inputs of a workflow, whatever its version: who asks, and what chance adds. */
export function randomInputs(chance: Chance): ColumnSpec[] {
  const more = Array.from({ length: chance.whole(0, 3) }, (_, i): ColumnSpec => {
    const name = `in${i}`
    const per = chance.holds(0.75) ? 'row' : 'request'
    const kind = chance.whole(0, 3)
    if (kind === 0) return { name, dtype: chance.pick(['string', 'bytes']), per, shape: [], ragged: true }
    if (kind === 1) return { name, dtype: chance.pick(denseTypes), per, shape: [], ragged: true }
    return { name, dtype: chance.pick(denseTypes), per, shape: randomShape(chance), ragged: false }
  })
  return chance.shuffled([keyColumn, whoColumn, ...more])
}

/** What one version makes of them. */
export function randomSignature(chance: Chance, inputs: readonly ColumnSpec[]): Signature {
  const strings = chance.holds(0.4)
  const outputs = Array.from({ length: chance.whole(1, 3) }, (_, i): ColumnSpec => {
    const name = `out${i}`
    const per = i === 0 || chance.holds(0.8) ? 'row' : 'request'
    if (strings && chance.holds(0.5))
      return { name, dtype: chance.pick(['string', 'bytes']), per, shape: [], ragged: true }
    const dtype = chance.pick([...denseTypes, 'bool'] as const)
    return { name, dtype, per, shape: dtype === 'bool' ? [] : randomShape(chance), ragged: false }
  })
  const context = attributes.filter(() => chance.holds(0.3))
  return { inputs, outputs, ...(context.length > 0 && { context }) }
}

/** Attributes that requests may have and versions may read. */
const attributes: readonly AttributeSpec[] = [
  attributeSpec('country', 'text', 'nowhere'),
  attributeSpec('age', 'number', -1),
  attributeSpec('kids', 'truth', null),
  attributeSpec('tenant', 'text', 'nobody'),
]

export function randomContext(chance: Chance): Context {
  return {
    ...(chance.holds(0.6) && { country: chance.pick(['US', 'DE', 'a country with a long name', '']) }),
    ...(chance.holds(0.6) && { age: chance.whole(0, 99) }),
    ...(chance.holds(0.95) && { kids: chance.holds(0.5) }),
  }
}

/** Values of a request: `rows` of them where a column is per row. */
export function randomValues(
  chance: Chance,
  inputs: readonly ColumnSpec[],
  serial: number,
  rows: number,
  long: boolean,
): Values[] {
  return inputs.map((column) =>
    Array.from({ length: column.per === 'row' ? rows : 1 }, (_, row) => {
      if (column.name === 'key') return u64(keyOf(serial, row))
      if (!column.ragged) return chance.bytes(bytesPerRow(column))
      const elements = chance.whole(0, long ? 400 : 12)
      if (column.dtype === 'string') return Buffer.from(chance.text(elements))
      return chance.bytes(elements * dtypeBytes[DType[column.dtype]]!)
    }),
  )
}

export function wireColumns(inputs: readonly ColumnSpec[], values: readonly Values[]): WireColumn[] {
  return inputs.map((column, c) => wireColumn(column, values[c]!))
}

/** What a version answers to a request, as it lies on the wire. */
export function expectedOutputs(
  signature: Signature,
  version: number,
  values: readonly Values[],
  context: Context,
): WireColumn[] {
  const { inputs, outputs } = signature
  const rows = Math.max(...inputs.map(({ per }, c) => (per === 'row' ? values[c]!.length : 0)))
  const asked = (signature.context ?? []).map((spec) => attributeBytes(spec, context[spec.name] ?? spec.missing!))
  const whole = digestOf(
    version,
    inputs.flatMap(({ per }, c) => (per === 'row' ? [] : values[c]!)),
    asked,
  )
  const digests = Array.from({ length: rows }, (_, row) =>
    digestOf(
      whole,
      inputs.flatMap(({ per }, c) => (per === 'row' ? values[c]![row]! : [])),
    ),
  )
  return outputs.map((column, c) => {
    const made = (column.per === 'row' ? digests : [whole]).map((digest) => outputBytes(column, c, digest))
    return wireColumn(column, made)
  })
}

/** A number that follows from every byte and length. */
export function digestOf(seed: number, ...parts: readonly (readonly Uint8Array[])[]): number {
  let digest = seed
  for (const part of parts) for (const bytes of part) digest = murmur3(bytes, 0, bytes.length, digest)
  return digest
}

export function attributeBytes({ kind }: AttributeSpec, value: AttributeValue): Uint8Array {
  if (kind === 'text') return Buffer.from(value as string)
  return kind === 'truth' ? Uint8Array.of(Number(value)) : new Uint8Array(Float64Array.of(value as number).buffer)
}

/** The value of an output whose row, or request, has this digest: some strings are long. */
export function outputBytes(column: ColumnSpec, place: number, digest: number): Uint8Array {
  let state = murmur3(Uint8Array.of(place), 0, 1, digest)
  const long = state % 32 === 0
  const length = column.ragged ? (long ? state % 3000 : state % 24) : bytesPerRow(column)
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const byte = state >>> 24
    bytes[i] = column.dtype === 'bool' ? byte & 1 : column.dtype === 'string' ? 97 + (byte % 26) : byte
  }
  return bytes
}

function wireColumn({ name, dtype, shape, per, ragged }: ColumnSpec, values: Values): WireColumn {
  const data = Buffer.concat(values)
  if (!ragged) return { name, dtype, shape: [values.length, ...shape], data }
  const offsets = new Uint32Array(values.length + 1)
  values.forEach((value, i) => (offsets[i + 1] = offsets[i]! + value.length))
  const rows = per === 'row' ? values.length : 1
  return { name, dtype, shape: [rows], data, offsets }
}

export function sameColumn(a: WireColumn, b: WireColumn): boolean {
  const { offsets: left = none, shape: rows = [] } = a
  const { offsets: right = none, shape: otherRows = [] } = b
  return (
    a.name === b.name &&
    a.dtype === b.dtype &&
    Buffer.compare(a.data, b.data) === 0 &&
    left.length === right.length &&
    left.every((offset, i) => offset === right[i]) &&
    rows.length === otherRows.length &&
    rows.every((n, i) => n === otherRows[i])
  )
}

const none = new Uint32Array(0)

export function isHeaped(column: ColumnSpec): boolean {
  return column.ragged || isRaggedDType(column.dtype)
}

function randomShape(chance: Chance): number[] {
  return chance.holds(0.4) ? [] : chance.pick([[3], [2, 2], [64], [7]])
}

function u64(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer)
}
