import { DType, dtypeBytes, elementsPerRow, trafficClasses, type ColumnSpec, type DTypeName } from '@millrace/base'
import fc from 'fast-check'
import type { Intake } from '../src/intake'
import type { RequestMessage, WireColumn } from '../src/message'

/* What the tests of this room generate. */

export const texts = fc.string({ unit: 'grapheme', maxLength: 12 })
export const u32s = fc.oneof(fc.nat(1000), fc.nat(0xffffffff), fc.constant(0xffffffff))
export const u64s = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
export const dtypes = fc.constantFrom(...(Object.keys(DType) as DTypeName[]))

const maybe = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(values, { nil: undefined })

function entriesOf<T>(values: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> {
  return fc
    .uniqueArray(fc.tuple(texts, values), { selector: ([name]) => name, maxLength: 8 })
    .map((entries) => Object.fromEntries(entries))
}

/** Any column that can be written, whether its data suit its shape or not. */
export const columns: fc.Arbitrary<WireColumn> = fc
  .record({
    name: texts,
    dtype: dtypes,
    shape: maybe(fc.array(u32s, { maxLength: 8 })),
    data: fc.uint8Array({ maxLength: 40 }),
    offsets: maybe(fc.uint32Array({ maxLength: 6 })),
  })
  .map(defined)

/** Any request that can be written. */
export const requests: fc.Arbitrary<RequestMessage> = fc.record({
  id: maybe(u64s),
  objective: maybe(texts),
  objectiveHash: maybe(u64s),
  subject: maybe(fc.oneof(texts, u64s)),
  context: maybe(
    fc
      .tuple(
        entriesOf(fc.oneof(texts, fc.double(), fc.boolean())),
        fc.record({ tenant: texts, origin: texts, traffic: fc.constantFrom(...trafficClasses) }, { requiredKeys: [] }),
      )
      .map(([said, given]) => ({ ...said, ...given })),
  ),
  inputs: maybe(
    fc.oneof(
      { weight: 9, arbitrary: fc.array(columns, { maxLength: 4 }) },
      { weight: 1, arbitrary: fc.array(columns, { minLength: 60, maxLength: 64 }) },
    ),
  ),
  deadlineUs: maybe(u32s),
  priority: maybe(fc.constantFrom('interactive', 'bulk')),
  override: maybe(
    fc.oneof(
      fc.record({ workflow: texts, version: u32s.filter((version) => version > 0) }),
      fc.record({ cell: texts }),
      fc.record({ cell: texts, experiment: texts.filter((name) => name !== '') }),
    ),
  ),
  timings: maybe(fc.boolean()),
  dryRun: maybe(fc.boolean()),
  decision: maybe(fc.uint8Array({ maxLength: 80 })),
})

/** Columns as a version declares them, and as one request brings them: equal rows, in the declared order. */
export interface Fitting {
  readonly specs: readonly ColumnSpec[]
  readonly inputs: readonly WireColumn[]
  /** At least 1. */
  readonly rows: number
}

export const fittings: fc.Arbitrary<Fitting> = fc.integer({ min: 1, max: 9 }).chain((rows) =>
  fc
    .uniqueArray(
      fc.record({
        name: texts,
        dtype: dtypes,
        per: fc.constantFrom('row', 'row', 'request'),
        shape: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
        lists: fc.boolean(),
        said: fc.boolean(),
      }),
      { selector: ({ name }) => name, minLength: 1, maxLength: 5 },
    )
    .filter((columns) => columns.some(({ per }) => per === 'row') || rows === 1)
    .chain((columns) =>
      fc.tuple(
        ...columns.map(({ name, dtype, per, shape, lists, said }) => {
          const ragged = lists || dtype === 'string' || dtype === 'bytes'
          const spec: ColumnSpec = { name, dtype, per, shape: ragged ? [] : shape, ragged }
          return inputOf(spec, per === 'row' ? rows : 1, said).map((input) => ({ spec, input }))
        }),
      ),
    )
    .map((columns) => ({ rows, specs: columns.map(({ spec }) => spec), inputs: columns.map(({ input }) => input) })),
)

function inputOf(spec: ColumnSpec, rows: number, said: boolean): fc.Arbitrary<WireColumn> {
  const { name, dtype } = spec
  const bytes = dtypeBytes[DType[dtype]]!
  const bytesOf = (elements: number): fc.Arbitrary<Uint8Array> =>
    fc.uint8Array({ minLength: elements * bytes, maxLength: elements * bytes })
  const shape = said ? [rows, ...spec.shape] : undefined
  if (!spec.ragged) return bytesOf(rows * elementsPerRow(spec)).map((data) => defined({ name, dtype, shape, data }))
  return fc
    .array(fc.nat(9).chain(bytesOf), { minLength: rows, maxLength: rows })
    .map((values) => defined({ name, dtype, shape, data: Buffer.concat(values), offsets: offsetsOf(values) }))
}

/** Where rows that lie end to end begin, and the last ends. */
export function offsetsOf(rows: readonly Uint8Array[]): Uint32Array {
  const offsets = new Uint32Array(rows.length + 1)
  rows.forEach((row, i) => (offsets[i + 1] = offsets[i]! + row.length))
  return offsets
}

/** Without the fields that are undefined: `exactOptionalPropertyTypes`. */
function defined(column: {
  readonly name: string
  readonly dtype: DTypeName
  readonly shape?: readonly number[] | undefined
  readonly data: Uint8Array
  readonly offsets?: Uint32Array | undefined
}): WireColumn {
  return Object.fromEntries(Object.entries(column).filter(([, value]) => value !== undefined)) as unknown as WireColumn
}

const canary = 0xcd
const gap = 16

/**
 * A slab whose every byte outside the places that a copy is given is a canary.
 *
 * Its columns have room for `before` rows (requests) in front and one behind.
 */
export class Slab {
  /** Bytes from the begin of `memory`; not 0, so that positions and slab positions are not the same by chance. */
  readonly offset = 64
  readonly places: Int32Array
  readonly heap: number
  readonly memory: Uint8Array
  readonly words: Uint32Array
  private readonly writable: (readonly [begin: number, end: number])[] = []

  constructor(
    private readonly intake: Intake,
    rows: number,
    heapBytes: number,
    readonly before: { readonly rows: number; readonly requests: number; readonly heapUsed: number },
  ) {
    this.places = new Int32Array(intake.count)
    let end = gap
    for (let c = 0; c < intake.count; c++) {
      this.places[c] = end
      const bytes = this.bytesPerRow(c)
      const whole = intake.perRequest[c] === 1
      const begin = this.offset + end + (whole ? before.requests : before.rows) * bytes
      const n = whole ? 1 : rows
      this.writable.push([begin, begin + n * bytes])
      end = (end + ((whole ? before.requests : before.rows) + n + 1) * bytes + gap + 7) & ~7
    }
    this.heap = this.offset + end
    this.writable.push([this.heap + before.heapUsed, this.heap + before.heapUsed + heapBytes])
    const buffer = new ArrayBuffer((this.heap + before.heapUsed + heapBytes + gap + 7) & ~7)
    this.memory = new Uint8Array(buffer).fill(canary)
    this.words = new Uint32Array(buffer)
  }

  /** Bytes of one row in the slab: of its values, or of its span. */
  private bytesPerRow(c: number): number {
    return this.intake.ragged[c] === 1 ? 8 : this.intake.bytesPerRow[c]!
  }

  /** The first position outside its places that was written, or -1. */
  strayWrite(): number {
    return this.memory.findIndex(
      (byte, at) => byte !== canary && !this.writable.some(([begin, end]) => at >= begin && at < end),
    )
  }

  /** Row `row` of declared column `c` as it lies in the slab. */
  row(c: number, row: number): Uint8Array {
    const bytes = this.bytesPerRow(c)
    const begin = this.offset + this.places[c]! + row * bytes
    if (this.intake.ragged[c] === 0) return this.memory.slice(begin, begin + bytes)
    const from = this.heap + this.words[begin >>> 2]!
    return this.memory.slice(from, from + this.words[(begin >>> 2) + 1]!)
  }
}

/**
 * A message that somebody broke, of whole words: bits flipped, cut, extended, words and half words overwritten with
 * the numbers that break parsers, parts copied over others or spliced in from `other`.
 */
export function broken(message: Uint8Array, other: Uint8Array, next: () => number): Buffer<ArrayBuffer> {
  let bytes = Buffer.from(message)
  const times = 1 + Math.floor(next() * 3)
  for (let i = 0; i < times; i++) bytes = brokenOnce(bytes, other, next)
  return bytes
}

function brokenOnce(bytes: Buffer<ArrayBuffer>, other: Uint8Array, next: () => number): Buffer<ArrayBuffer> {
  const below = (n: number): number => Math.floor(next() * n)
  const words = bytes.length >>> 2
  const kind = below(8)
  if (words === 0 || kind === 0) return Buffer.concat([bytes, Buffer.alloc(4 * below(5), below(256))])
  switch (kind) {
    case 1:
      return bytes.subarray(0, next() < 0.9 ? 4 * below(words + 1) : below(bytes.length))
    case 2:
      bytes[below(bytes.length)]! ^= 1 << below(8)
      return bytes
    case 3: {
      const at = 2 * below(2 * words)
      bytes.writeUInt16LE(interesting(bytes.length - at, next) & 0xffff, at)
      return bytes
    }
    case 4: {
      const begin = 4 * below(words)
      const from = 4 * below(other.length >>> 2)
      bytes.set(
        other.subarray(from, Math.min(other.length, from + bytes.length - begin, from + 4 * (1 + below(16)))),
        begin,
      )
      return bytes
    }
    case 5: {
      const from = 4 * below(words)
      bytes.copyWithin(4 * below(words), from, from + 4 * (1 + below(8)))
      return bytes
    }
    default: {
      const at = 4 * below(words)
      bytes.writeUInt32LE(interesting(next() < 0.5 ? bytes.length : bytes.length - at, next) >>> 0, at)
      return bytes
    }
  }
}

/** Of length `n`: what is just inside, just outside, nothing, nearly all, negative. */
function interesting(n: number, next: () => number): number {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)]!
  const small = Math.floor(next() * 72)
  return pick([
    0,
    1,
    2,
    4,
    small,
    4 * small,
    -1,
    -4,
    -small,
    0x7fffffff,
    0x80000000,
    0xfffffffc,
    n,
    n - small,
    n + small,
  ])
}
