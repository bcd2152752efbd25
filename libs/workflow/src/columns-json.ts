import {
  attributeFault,
  Code,
  denseArray,
  describeColumn,
  DType,
  dtypeBytes,
  elementsPerRow,
  kindOf,
  Refusal,
  Strings,
  trafficClasses,
  trafficFault,
  type AttributeSpec,
  type ColumnSpec,
  type Context,
  type DenseArray,
  type DenseDType,
  type DTypeName,
  type TrafficClass,
} from '@millrace/base'

/*
 * Columns as JSON, as in the readable twin of the wire:
 *
 *   per row:      one value for each row, `[0.5, 0.7]`, `["a", "b"]`, `[[1, 2, 3], [4, 5, 6]]` for shape [3] and for lists
 *   per request:  the one value, `42`, `"account-42"`, `[1, 2, 3]`; in a list of one it is taken too
 *   dense:        or `{ "base64": "..." }`, little-endian, row-major
 *   bytes:        base64 text for each value
 *   i64, u64:     numbers where they are exact, else decimal text
 */

/** The inputs or outputs of one request: dense columns, or `Strings` for everything ragged. */
export type ColumnValues = Readonly<Record<string, DenseArray | Strings>>

export interface RequestColumns {
  readonly rows: number
  readonly inputs: ColumnValues
  /** The attributes of its context that the workflow reads; left out: it reads none. */
  readonly context?: ColumnValues
}

/**
 * The declared input columns from their JSON.
 *
 * @throws Refusal INVALID_ARGUMENT naming column, row, what was expected and what came
 */
export function columnsFromJson(specs: readonly ColumnSpec[], json: unknown): RequestColumns {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    refuse(`inputs: expected an object of columns, got ${show(json)}`)
  const given = json as Record<string, unknown>
  for (const name of Object.keys(given))
    if (!specs.some((spec) => spec.name === name))
      refuse(
        `inputs.${name}: no such column; the workflow takes ${specs.map((spec) => spec.name).join(', ') || 'none'}`,
      )
  const inputs: Record<string, DenseArray | Strings> = {}
  let rows = -1
  let rowsFrom = ''
  for (const spec of specs) {
    if (!Object.hasOwn(given, spec.name)) refuse(`inputs.${spec.name}: missing; expected ${describeColumn(spec)}`)
    const column = columnFromJson(spec, given[spec.name])
    const length = lengthOf(spec, column)
    if (spec.per === 'request' && length !== 1)
      refuse(`inputs.${spec.name}: ${length} values; expected one, ${describeColumn(spec)}`)
    if (spec.per === 'row') {
      if (rows >= 0 && length !== rows)
        refuse(
          `inputs.${spec.name}: ${length} rows, but inputs.${rowsFrom} has ${rows}; every column per row has the same`,
        )
      rows = length
      rowsFrom = spec.name
    }
    inputs[spec.name] = column
  }
  // A request of columns per request alone is one row.
  return { rows: rows < 0 ? 1 : rows, inputs }
}

/**
 * The attributes that a workflow reads, out of a request's context, as columns of one value.
 *
 * @throws Refusal INVALID_ARGUMENT naming an attribute that is missing or of another kind
 */
export function contextColumns(specs: readonly AttributeSpec[], context: Context): ColumnValues {
  return Object.fromEntries(
    specs.map((spec) => {
      const said = Object.hasOwn(context, spec.name) ? context[spec.name]! : null
      if (said !== null && kindOf(said) !== spec.kind) refuse(attributeFault(spec, kindOf(said)))
      if (spec.name === 'traffic' && said !== null && !trafficClasses.includes(said as TrafficClass))
        refuse(`context.traffic: ${trafficFault(String(said))}`)
      const value = said ?? spec.missing
      if (value === null) return refuse(attributeFault(spec, null))
      if (typeof value === 'string') return [spec.name, Strings.of([value], spec.name)]
      return [spec.name, typeof value === 'number' ? Float64Array.of(value) : Uint8Array.of(Number(value))]
    }),
  )
}

/** The JSON of output columns of one request; a column per request is its value, not a list of one. */
export function columnsToJson(specs: readonly ColumnSpec[], columns: ColumnValues): Record<string, unknown> {
  return Object.fromEntries(
    specs.map((spec) => {
      const values = valuesToJson(spec, columns[spec.name]!)
      return [spec.name, spec.per === 'request' ? values[0] : values]
    }),
  )
}

/** Rows of a column (values of one per request). */
export function lengthOf(spec: ColumnSpec, column: DenseArray | Strings): number {
  return column instanceof Strings ? column.length : column.length / elementsPerRow(spec)
}

function columnFromJson(spec: ColumnSpec, json: unknown): DenseArray | Strings {
  const at = `inputs.${spec.name}`
  if (spec.ragged) {
    const values = spec.per === 'request' && !isListOfOne(spec, json) ? [json] : list(at, spec, json)
    return Strings.of(values.map((value, row) => raggedValue(`${at}[${row}]`, spec, value)))
  }
  const width = elementsPerRow(spec)
  if (isBase64(json)) return denseFromBytes(at, spec, json.base64)
  const values: unknown[] = []
  if (spec.per === 'request' && depthOf(json, spec.shape.length + 1) <= spec.shape.length)
    flatten(at, spec, json, spec.shape, values)
  else {
    const rows = list(at, spec, json)
    // A flat list is taken for a shaped column too: row after row.
    if (spec.shape.length > 0 && rows.length > 0 && rows.every((value) => !Array.isArray(value))) {
      if (rows.length % width !== 0)
        refuse(`${at}: ${rows.length} values are no whole rows; expected ${width} a row, ${describeColumn(spec)}`)
      // One by one: as arguments of one call so many would not fit the stack.
      for (const value of rows) values.push(value)
    } else rows.forEach((value, row) => flatten(`${at}[${row}]`, spec, value, spec.shape, values))
  }
  const out = denseArray(spec.dtype as DenseDType, values.length)
  values.forEach((value, i) => {
    out[i] = element(
      () => `${at}[${Math.floor(i / width)}]${width > 1 ? `[${i % width}]` : ''}`,
      spec.dtype,
      value,
    ) as never
  })
  return out
}

/** `[["a"]]`-like: a column per request that is wrapped in a list of one row. */
function isListOfOne(spec: ColumnSpec, json: unknown): boolean {
  if (!Array.isArray(json) || json.length !== 1) return false
  return spec.dtype === 'string' || spec.dtype === 'bytes' || Array.isArray(json[0])
}

/** Lists in lists, by their first elements; `most` when there are more. */
function depthOf(json: unknown, most: number): number {
  let depth = 0
  for (let at = json; depth < most && Array.isArray(at); at = at[0]) depth++
  return depth
}

function list(at: string, spec: ColumnSpec, json: unknown): readonly unknown[] {
  if (!Array.isArray(json))
    refuse(`${at}: expected a list, one value a row, ${describeColumn(spec)}; got ${show(json)}`)
  return json as readonly unknown[]
}

function flatten(at: string, spec: ColumnSpec, json: unknown, shape: readonly number[], into: unknown[]): void {
  const [n, ...inner] = shape
  if (n === undefined) {
    if (Array.isArray(json)) refuse(`${at}: expected ${describeColumn(spec)}, got a list inside a row`)
    into.push(json)
    return
  }
  if (!Array.isArray(json)) refuse(`${at}: expected a list of ${n}, ${describeColumn(spec)}; got ${show(json)}`)
  const values = json as readonly unknown[]
  if (values.length !== n) refuse(`${at}: expected ${n} values, ${describeColumn(spec)}; got ${values.length}`)
  values.forEach((value, i) => flatten(`${at}[${i}]`, spec, value, inner, into))
}

function raggedValue(at: string, spec: ColumnSpec, json: unknown): string | Uint8Array {
  if (spec.dtype === 'string') {
    if (typeof json !== 'string') refuse(`${at}: expected a string, got ${show(json)}`)
    return json as string
  }
  if (spec.dtype === 'bytes') {
    if (typeof json !== 'string') refuse(`${at}: expected bytes as base64 text, got ${show(json)}`)
    return fromBase64(at, json as string)
  }
  if (!Array.isArray(json)) refuse(`${at}: expected a list of ${spec.dtype}, got ${show(json)}`)
  const values = json as readonly unknown[]
  const out = denseArray(spec.dtype as DenseDType, values.length)
  values.forEach((value, i) => (out[i] = element(() => `${at}[${i}]`, spec.dtype, value) as never))
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength)
}

const integerRanges: Readonly<Partial<Record<DTypeName, readonly [bigint, bigint]>>> = {
  i8: [-(2n ** 7n), 2n ** 7n - 1n],
  u8: [0n, 2n ** 8n - 1n],
  i16: [-(2n ** 15n), 2n ** 15n - 1n],
  u16: [0n, 2n ** 16n - 1n],
  i32: [-(2n ** 31n), 2n ** 31n - 1n],
  u32: [0n, 2n ** 32n - 1n],
  i64: [-(2n ** 63n), 2n ** 63n - 1n],
  u64: [0n, 2n ** 64n - 1n],
}

function element(at: () => string, dtype: DTypeName, json: unknown): number | bigint {
  if (dtype === 'f32' || dtype === 'f64') {
    // JSON has no NaN: null stands for it, in both directions.
    if (json === null) return NaN
    if (typeof json !== 'number') refuse(`${at()}: expected ${dtype}, got ${show(json)}`)
    return json as number
  }
  if (dtype === 'bool') {
    if (json !== true && json !== false && json !== 0 && json !== 1) refuse(`${at()}: expected bool, got ${show(json)}`)
    return Number(json)
  }
  const wide = dtype === 'i64' || dtype === 'u64'
  const exact = typeof json === 'number' && Number.isSafeInteger(json)
  if (!exact && !(wide && typeof json === 'string' && /^-?\d{1,20}$/.test(json)))
    refuse(`${at()}: expected ${dtype}${wide ? ', beyond 2^53 as decimal text' : ''}, got ${show(json)}`)
  const value = BigInt(json as number | string)
  const [min, max] = integerRanges[dtype]!
  if (value < min || value > max) refuse(`${at()}: expected ${dtype}, from ${min} to ${max}; got ${show(json)}`)
  return wide ? value : Number(value)
}

function isBase64(json: unknown): json is { readonly base64: string } {
  return typeof json === 'object' && json !== null && typeof (json as { base64?: unknown }).base64 === 'string'
}

function denseFromBytes(at: string, spec: ColumnSpec, base64: string): DenseArray {
  const bytes = fromBase64(at, base64)
  const size = dtypeBytes[DType[spec.dtype]]!
  const perRow = size * elementsPerRow(spec)
  if (bytes.length % perRow !== 0)
    refuse(`${at}: ${bytes.length} bytes are no whole rows; expected ${perRow} a row, ${describeColumn(spec)}`)
  const out = denseArray(spec.dtype as DenseDType, bytes.length / size)
  new Uint8Array(out.buffer).set(bytes)
  return out
}

function fromBase64(at: string, text: string): Buffer {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) refuse(`${at}: not base64: ${show(text)}`)
  return Buffer.from(text, 'base64')
}

function valuesToJson(spec: ColumnSpec, column: DenseArray | Strings): unknown[] {
  if (column instanceof Strings) return Array.from({ length: column.length }, (_, i) => raggedToJson(spec, column, i))
  const flat = Array.from<number | bigint, unknown>(column, (value) => elementToJson(spec.dtype, value))
  return spec.shape.length === 0 ? flat : nest(flat, [flat.length / elementsPerRow(spec), ...spec.shape])
}

function raggedToJson(spec: ColumnSpec, column: Strings, i: number): unknown {
  if (spec.dtype === 'string') return column.at(i)
  const bytes = column.bytes(i)
  if (spec.dtype === 'bytes') return bytes.toString('base64')
  const out = denseArray(spec.dtype as DenseDType, bytes.length / dtypeBytes[DType[spec.dtype]]!)
  new Uint8Array(out.buffer).set(bytes)
  return Array.from<number | bigint, unknown>(out, (value) => elementToJson(spec.dtype, value))
}

function elementToJson(dtype: DTypeName, value: number | bigint): number | string | boolean | null {
  if (dtype === 'bool') return value !== 0
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  return Number.isFinite(value) ? value : null
}

function nest(flat: readonly unknown[], shape: readonly number[]): unknown[] {
  const inner = shape.slice(1)
  if (inner.length === 0) return [...flat]
  const step = inner.reduce((product, n) => product * n, 1)
  return Array.from({ length: shape[0]! }, (_, i) => nest(flat.slice(i * step, (i + 1) * step), inner))
}

function show(json: unknown): string {
  let text: string
  try {
    text = json === undefined ? 'nothing' : JSON.stringify(json)
  } catch {
    // Lists so deep that they do not fit the stack.
    text = 'a value that is nested too deeply'
  }
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

function refuse(message: string): never {
  throw new Refusal(Code.INVALID_ARGUMENT, message)
}
