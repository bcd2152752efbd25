import {
  assert,
  DType,
  dtypeBytes,
  dtypeNames,
  isRaggedDType,
  type CodeName,
  type Context,
  type DenseArray,
  type DTypeName,
  type Strings,
} from '@millrace/base'

/** A column of a message: its bytes as they lie on the wire (little endian, row-major). */
export interface WireColumn {
  readonly name: string
  readonly dtype: DTypeName
  /** `[rows, ...shape of one row]`; may be left out, then rows follow from the bytes. */
  readonly shape?: readonly number[]
  readonly data: Uint8Array
  /** Ragged columns only: rows + 1 ascending byte positions in `data`. */
  readonly offsets?: Uint32Array
}

/** A request as plain values; what `encodeRequest` takes. Fields mean what the schema says. */
export interface RequestMessage {
  /** u64. */
  readonly id?: bigint | undefined
  /** Either of the two; the hash is used when both are there. */
  readonly objective?: string | undefined
  readonly objectiveHash?: bigint | undefined
  readonly subject?: string | bigint | undefined
  readonly context?: Context | undefined
  readonly inputs?: readonly WireColumn[] | undefined
  /** Microseconds from arrival; 0 or absent: the server's default. */
  readonly deadlineUs?: number | undefined
  readonly priority?: 'interactive' | 'bulk' | undefined
  readonly override?: OverrideMessage | undefined
  readonly timings?: boolean | undefined
  readonly dryRun?: boolean | undefined
  /** As a reply to a dry run had it. */
  readonly decision?: Uint8Array | undefined
}

/** A version or a cell, asked for against the rules. */
export type OverrideMessage =
  | { readonly workflow: string; readonly version: number }
  /** `experiment` where several of the objective have a cell of that name. */
  | { readonly cell: string; readonly experiment?: string | undefined }

/** Microseconds. */
export interface TimingsMessage {
  readonly queue: number
  readonly facts: number
  readonly score: number
  readonly total: number
}

/** A reply as plain values. */
export interface ReplyMessage {
  readonly id: bigint
  readonly code: CodeName
  /** Empty when the code is OK. */
  readonly message: string
  /** Null when the request was refused before it was routed. */
  readonly route: RouteMessage | null
  readonly outputs: readonly WireColumn[]
  readonly timings: TimingsMessage | null
  /** Only of dry runs. */
  readonly resolved?: ResolvedMessage | undefined
}

/** What a dry run tells beside its route. */
export interface ResolvedMessage {
  /** The same for requests that the same version answers; printable ASCII. */
  readonly routingKey: string
  /** For a later request of the same objective and subject; null when this one had one already. */
  readonly decision: Uint8Array | null
}

/** What answered, and why it. */
export interface RouteMessage {
  readonly workflow: string
  readonly version: number
  readonly rule: string
  readonly cell: string | null
  readonly rulesVersion: number
}

/** A dense column over `values`, without a copy. `shape` is that of one row. */
export function denseColumn(
  name: string,
  dtype: DTypeName,
  values: DenseArray,
  shape: readonly number[] = [],
): WireColumn {
  assert(!isRaggedDType(dtype), `${name}: ${dtype} is ragged`)
  const width = shape.reduce((product, n) => product * n, 1)
  return {
    name,
    dtype,
    shape: [values.length / width, ...shape],
    data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  }
}

/** A ragged column: its rows end to end. */
export function raggedColumn(name: string, dtype: DTypeName, values: Strings): WireColumn {
  const offsets = new Uint32Array(values.length + 1)
  const rows: Uint8Array[] = []
  for (let i = 0; i < values.length; i++) {
    rows.push(values.bytes(i))
    offsets[i + 1] = offsets[i]! + values.spans[2 * i + 1]!
  }
  return { name, dtype, shape: [values.length], data: Buffer.concat(rows), offsets }
}

/** Rows of a column. */
export function rowsOf(column: WireColumn): number {
  if (column.offsets !== undefined) return column.offsets.length - 1
  const width = (column.shape ?? []).slice(1).reduce((product, n) => product * n, 1)
  return column.data.length / dtypeBytes[DType[column.dtype]]! / width
}

/** The name of a dtype's number; throws on one that does not exist. */
export function dtypeName(code: number): DTypeName {
  const name = dtypeNames[code]
  if (name === undefined || name === 'none') throw new RangeError(`${code} is not a dtype`)
  return name
}
