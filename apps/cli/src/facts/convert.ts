import type { FactField, FactTable, FactValue } from '@millrace/facts'

/** What of a row does not fit, and why. */
export class BadValue extends Error {
  constructor(
    readonly column: string,
    readonly value: unknown,
    readonly why: string,
  ) {
    super(`${column}: ${why}`)
  }
}

/** A row of a file as a key and a record of `table`; throws BadValue. Ranges are checked where records are made. */
export function convert(
  table: FactTable,
  keyColumn: string,
  values: Readonly<Record<string, unknown>>,
): [key: string | bigint, record: Record<string, FactValue>] {
  const record: Record<string, FactValue> = {}
  for (const field of table.fields) record[field.name] = fieldValue(field, values[field.name])
  return [keyValue(table, keyColumn, values[keyColumn]), record]
}

function keyValue(table: FactTable, column: string, value: unknown): string | bigint {
  if (value === undefined || value === null || value === '') throw new BadValue(column, value, 'the key is missing')
  if (table.key === 'u64') {
    const key = integer(value)
    if (key === null || key < 0n || key >= 2n ** 64n)
      throw new BadValue(column, value, 'is no whole number from 0 to 2^64-1')
    return key
  }
  if (typeof value === 'object') throw new BadValue(column, value, 'is no text')
  return String(value as string | number | bigint | boolean)
}

function fieldValue(field: FactField, value: unknown): FactValue {
  if (field.shape.length > 0) return list(field, value)
  if (field.dtype === 'string') {
    // Text may be empty: a column of text has no other way to say that it is unknown.
    if (value === undefined || value === null) return ''
    if (typeof value === 'object') throw new BadValue(field.name, value, 'is string, this is not')
    return String(value as string | number | bigint | boolean)
  }
  if (field.dtype === 'bytes') {
    if (value instanceof Uint8Array) return value
    if (typeof value === 'string') return Buffer.from(value, 'base64')
    throw new BadValue(field.name, value, 'is bytes: base64 in text')
  }
  return scalar(field, value)
}

function scalar(field: FactField, value: unknown): FactValue {
  const { name, dtype } = field
  const float = dtype === 'f32' || dtype === 'f64'
  if (value === undefined || value === null || value === '') {
    if (float) return NaN
    throw new BadValue(name, value, `is ${dtype} and missing; only f32 and f64 may be unknown`)
  }
  if (dtype === 'bool') {
    const known = { true: true, false: false, '1': true, '0': false }[String(value as string).toLowerCase()]
    if (known === undefined) throw new BadValue(name, value, 'is bool: true, false, 1 or 0')
    return known
  }
  if (float) {
    const number = typeof value === 'number' || typeof value === 'bigint' ? Number(value) : decimal(value)
    if (number === null) throw new BadValue(name, value, `is ${dtype}, this is no number`)
    return number
  }
  const whole = integer(value)
  if (whole === null) throw new BadValue(name, value, `is ${dtype}, this is no whole number`)
  return dtype === 'i64' || dtype === 'u64' ? whole : Number(whole)
}

function list(field: FactField, value: unknown): FactValue {
  const elements = field.shape.reduce((product, n) => product * n, 1)
  const values = listOf(value)
  if (values === null || values.length !== elements)
    throw new BadValue(
      field.name,
      value,
      `is a list of ${elements}${values === null ? '' : `, this has ${values.length}`}`,
    )
  return values.map((one) => scalar(field, one)) as number[]
}

/** A list, of lists or not, or the JSON of one, flat; null when it is none. */
export function listOf(value: unknown): unknown[] | null {
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<unknown>)
  if (Array.isArray(value)) return value.flat(Infinity) as unknown[]
  if (typeof value !== 'string' || !value.startsWith('[')) return null
  try {
    return listOf(JSON.parse(value))
  } catch {
    return null
  }
}

/** A whole number in full; null when it is none. */
export function integer(value: unknown): bigint | null {
  if (typeof value === 'bigint') return value
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : null
  return typeof value === 'string' && /^-?\d+$/.test(value) ? BigInt(value) : null
}

/** Digits as people and programs write them, NaN and infinities; null for all else: nothing is guessed. */
export function decimal(value: unknown): number | null {
  if (typeof value !== 'string') return null
  if (/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(value)) return Number(value)
  return /^([-+]?Infinity|NaN)$/.test(value) ? Number(value) : null
}
