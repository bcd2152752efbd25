import { Strings, type ColumnSpec } from '@millrace/base'
import fc from 'fast-check'
import { fittings, offsetsOf, Slab } from '../test/messages'
import { encodeRequest } from './encode'
import { copyInputs, heapBytesOf, intakeOf, Matched, matchInputs, type Intake } from './intake'
import { denseColumn, raggedColumn, type WireColumn } from './message'
import { RequestView } from './request-view'
import { verifyRequest } from './verify'

const seed = 1

/** A verified request of these columns, at a base that is not the begin of its buffer. */
function viewOf(inputs: readonly WireColumn[]): RequestView {
  const message = encodeRequest({ id: 1n, objective: 'price', inputs })
  const base = 12
  const buffer = new Uint8Array(base + message.length)
  buffer.set(message, base)
  const view = new RequestView()
  expect(verifyRequest(buffer.buffer, base, message.length, view)).toBe(true)
  return view
}

function intake(inputs: readonly ColumnSpec[]): Intake {
  return intakeOf({ inputs, outputs: [] })
}

function spec(name: string, dtype: ColumnSpec['dtype'], more: Partial<ColumnSpec> = {}): ColumnSpec {
  return { name, dtype, per: 'row', shape: [], ragged: dtype === 'string' || dtype === 'bytes', ...more }
}

const specs = [
  spec('account', 'u64', { per: 'request' }),
  spec('vector', 'f32', { shape: [2] }),
  spec('title', 'string'),
  spec('ids', 'i32', { ragged: true }),
]
const account = denseColumn('account', 'u64', BigUint64Array.of(42n))
const vector = denseColumn('vector', 'f32', Float32Array.of(1, 2, 3, 4), [2])
const title = raggedColumn('title', 'string', Strings.of(['one', 'other']))
const ids = raggedColumn('ids', 'i32', Strings.of([Buffer.alloc(8, 7), Buffer.alloc(0)]))
const good = [account, vector, title, ids]

/** Without its shape: rows follow from the bytes. */
function unsaid({ shape: _, ...column }: WireColumn): WireColumn {
  return column
}

function instead(column: WireColumn): WireColumn[] {
  return good.map((one) => (one.name === column.name ? column : one))
}

describe('inputs match', () => {
  const matchedOf = (inputs: readonly WireColumn[], of = specs): Matched => {
    const matched = new Matched()
    expect(matchInputs(viewOf(inputs), intake(of), matched)).toBe(true)
    return matched
  }

  test.each<[string, readonly WireColumn[]]>([
    ['in the declared order', good],
    ['in another order', [ids, title, vector, account]],
    ['without shapes', good.map(unsaid)],
  ])('%s', (_, inputs) => {
    const matched = matchedOf(inputs)
    expect(matched.rows).toBe(2)
    // Of 'oneother' 8, of two i32 8.
    expect(matched.heapBytes).toBe(16)
    expect(specs.map((_, c) => inputs[matched.input[c]!]!.name)).toEqual(['account', 'vector', 'title', 'ids'])
  })

  test('of one row when all are per request, or there are none', () => {
    expect(matchedOf([account], specs.slice(0, 1)).rows).toBe(1)
    expect(matchedOf([], []).rows).toBe(1)
  })

  test.each(['é', '𝛼-beta', 'a'.repeat(300), ''])('by a name of any bytes: %j', (name) => {
    expect(matchedOf([denseColumn(name, 'u8', Uint8Array.of(1))], [spec(name, 'u8')]).rows).toBe(1)
  })

  test('whatever columns were declared, in any order', () => {
    fc.assert(
      fc.property(
        fittings.chain((fitting) => fc.tuple(fc.constant(fitting), shuffled(fitting.inputs))),
        ([{ specs, rows }, inputs]) => {
          const matched = matchedOf(inputs, [...specs])
          expect(matched.rows).toBe(rows)
          specs.forEach(({ name }, c) => expect(inputs[matched.input[c]!]!.name).toBe(name))
        },
      ),
      { seed, numRuns: 300 },
    )
  })
})

function shuffled<T>(values: readonly T[]): fc.Arbitrary<T[]> {
  return fc.shuffledSubarray([...values], { minLength: values.length })
}

describe('inputs that do not match are refused by name', () => {
  const faultOf = (inputs: readonly WireColumn[], of = specs): string => {
    const matched = new Matched()
    return matchInputs(viewOf(inputs), intake(of), matched) ? 'none' : matched.fault
  }
  const offsets = (...values: number[]): WireColumn[] =>
    instead({ ...unsaid(title), offsets: Uint32Array.from(values) })
  const declared = { vector: 'declared as f32[2]', title: 'declared as string' }
  const notAscending = 'has offsets that do not ascend from 0 to the length of its data'

  test.each<[string, readonly WireColumn[], string]>([
    ['none', [], 'inputs.account: is missing; declared as u64 per request'],
    ['one missing', [account, vector, ids], `inputs.title: is missing; ${declared.title}`],
    [
      'a name that begins the same',
      instead(vector).map((one) => (one === vector ? { ...one, name: 'vectors' } : one)),
      `inputs.vector: is missing; ${declared.vector}`,
    ],
    [
      'one too many',
      [...good, { ...vector, name: 'titel' }],
      'inputs.titel: not an input of this workflow, which takes account, vector, title, ids',
    ],
    ['one twice', [...good, vector], 'inputs: a column comes twice'],
    ['one twice, in front', [vector, ...good], 'inputs: a column comes twice'],
    ['one twice, another missing', [account, vector, vector, ids], `inputs.title: is missing; ${declared.title}`],
    [
      'another dtype',
      instead(denseColumn('vector', 'i32', Int32Array.of(1, 2, 3, 4), [2])),
      `inputs.vector: came as i32; ${declared.vector}`,
    ],
    ['bytes for a string', instead({ ...title, dtype: 'bytes' }), `inputs.title: came as bytes; ${declared.title}`],
    ['no dtype', instead({ ...vector, dtype: 'none' as 'f32' }), `inputs.vector: came as none; ${declared.vector}`],
    [
      'no whole rows',
      instead({ ...unsaid(vector), data: vector.data.subarray(0, 12) }),
      `inputs.vector: came with 12 bytes, which is no multiple of the 8 of one row; ${declared.vector}`,
    ],
    [
      'another width',
      instead({ ...vector, shape: [4, 1] }),
      `inputs.vector: came with shape [4,1] and 16 bytes; a shape is [rows, 2], or left out; ${declared.vector}`,
    ],
    [
      'another inner dimension, the same bytes',
      instead({ ...vector, shape: [2, 1] }),
      `inputs.vector: came with shape [2,1] and 16 bytes; a shape is [rows, 2], or left out; ${declared.vector}`,
    ],
    [
      'a dimension too many',
      instead({ ...vector, shape: [2, 2, 1] }),
      `inputs.vector: came with shape [2,2,1] and 16 bytes; a shape is [rows, 2], or left out; ${declared.vector}`,
    ],
    [
      'a dimension too few',
      instead({ ...vector, shape: [2] }),
      `inputs.vector: came with shape [2] and 16 bytes; a shape is [rows, 2], or left out; ${declared.vector}`,
    ],
    [
      'more rows in the shape than bytes',
      instead({ ...vector, shape: [3, 2] }),
      `inputs.vector: came with shape [3,2] and 16 bytes; a shape is [rows, 2], or left out; ${declared.vector}`,
    ],
    [
      'a shape of 2^32 - 1 rows',
      instead({ ...vector, shape: [0xffffffff, 2] }),
      `inputs.vector: came with shape [4294967295,2] and 16 bytes; a shape is [rows, 2], or left out; ${declared.vector}`,
    ],
    [
      'a ragged column of two dimensions',
      instead({ ...title, shape: [2, 1] }),
      `inputs.title: came with shape [2,1] and 8 bytes; a shape is [rows], or left out; ${declared.title}`,
    ],
    [
      'rows that differ',
      instead(raggedColumn('title', 'string', Strings.of(['one']))),
      `inputs.title: came with 1 rows, the columns before it with 2; ${declared.title}`,
    ],
    [
      'two values per request',
      instead(denseColumn('account', 'u64', BigUint64Array.of(1n, 2n))),
      'inputs.account: came with 2 rows, it is one value per request; declared as u64 per request',
    ],
    [
      'no value per request',
      instead(denseColumn('account', 'u64', BigUint64Array.of())),
      'inputs.account: came with 0 rows, it is one value per request; declared as u64 per request',
    ],
    [
      'strings without offsets',
      instead({ ...title, offsets: new Uint32Array(0) }),
      `inputs.title: came without offsets, of which it needs one more than rows; ${declared.title}`,
    ],
    ['offsets that descend', offsets(0, 9, 8), `inputs.title: ${notAscending}; ${declared.title}`],
    ['offsets that begin behind 0', offsets(1, 3, 8), `inputs.title: ${notAscending}; ${declared.title}`],
    ['offsets that end before the data', offsets(0, 3, 7), `inputs.title: ${notAscending}; ${declared.title}`],
    ['offsets that end behind the data', offsets(0, 3, 9), `inputs.title: ${notAscending}; ${declared.title}`],
    ['offsets that wrap', offsets(0, 0xffffffff, 8), `inputs.title: ${notAscending}; ${declared.title}`],
    [
      'lists cut inside an element',
      instead({ ...unsaid(ids), offsets: Uint32Array.of(0, 6, 8) }),
      `inputs.ids: ${notAscending}; declared as i32[*]`,
    ],
  ])('%s', (_, inputs, fault) => {
    expect(faultOf(inputs)).toBe(fault)
  })

  test('no rows at all', () => {
    const none = [
      denseColumn('vector', 'f32', new Float32Array(0), [2]),
      raggedColumn('title', 'string', Strings.of([])),
    ]
    expect(faultOf(none, specs.slice(1, 3))).toBe('inputs: 0 rows; a request has at least one')
  })

  test('any one column left out, or any one more', () => {
    fc.assert(
      fc.property(fittings, fc.nat(), ({ specs, inputs }, n) => {
        const i = n % inputs.length
        expect(faultOf(inputs.toSpliced(i, 1), [...specs])).toMatch(/is missing|which takes/)
        expect(faultOf([...inputs, inputs[i]!], [...specs])).toBe('inputs: a column comes twice')
      }),
      { seed, numRuns: 200 },
    )
  })
})

describe('copying', () => {
  /** The values of row `row` of an input, as they were written. */
  const written = ({ data, offsets }: WireColumn, rows: number, row: number): Uint8Array =>
    offsets === undefined
      ? data.slice((row * data.length) / rows, ((row + 1) * data.length) / rows)
      : data.slice(offsets[row], offsets[row + 1])

  const cases = fittings.chain((fitting) =>
    fc.record({
      fitting: fc.constant(fitting),
      inputs: shuffled(fitting.inputs),
      before: fc.record({ rows: fc.nat(5), requests: fc.nat(3), heapUsed: fc.nat(4).map((n) => 8 * n) }),
      cuts: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 4 }),
    }),
  )

  test('puts every row in its place, nothing anywhere else, whole and in parts', () => {
    fc.assert(
      fc.property(cases, ({ fitting: { specs, rows }, inputs, before, cuts }) => {
        const view = viewOf(inputs)
        const of = intake(specs)
        const matched = new Matched()
        expect(matchInputs(view, of, matched)).toBe(true)
        const input = (c: number): WireColumn => inputs.find(({ name }) => name === specs[c]!.name)!

        const copyPart = (from: number, n: number): Slab => {
          const heapBytes = heapBytesOf(view, of, matched, from, n)
          const slab = new Slab(of, n, heapBytes, before)
          const used = copyInputs(
            ...([view, of, matched, slab.memory, slab.words, slab.offset, slab.places, from, n] as const),
            ...([before.rows, before.requests, slab.heap, before.heapUsed] as const),
          )
          expect(used - before.heapUsed).toBe(heapBytes)
          expect(used % 8).toBe(0)
          expect(slab.strayWrite()).toBe(-1)
          return slab
        }
        const expectRows = (slab: Slab, from: number, n: number): void =>
          specs.forEach(({ per }, c) => {
            if (per === 'request') return expect(slab.row(c, before.requests)).toEqual(written(input(c), 1, 0))
            for (let r = 0; r < n; r++) expect(slab.row(c, before.rows + r)).toEqual(written(input(c), rows, from + r))
          })

        expect(heapBytesOf(view, of, matched, 0, rows)).toBe(matched.heapBytes)
        expectRows(copyPart(0, rows), 0, rows)
        const ends = [...cuts.filter((cut) => cut < rows).sort((a, b) => a - b), rows]
        ends.forEach((end, i) => {
          const from = ends[i - 1] ?? 0
          expectRows(copyPart(from, end - from), from, end - from)
        })
      }),
      { seed, numRuns: 500 },
    )
  })

  test('of several requests into one slab leaves each its own', () => {
    const of = intake(specs)
    const requests = [1, 2, 3].map((n) => {
      const titles = Array.from({ length: n }, (_, r) => `title ${n}.${r}`)
      const lists = titles.map((_, r) => Buffer.from(Int32Array.from({ length: r + 1 }, () => n).buffer))
      return [
        denseColumn('account', 'u64', BigUint64Array.of(BigInt(n))),
        denseColumn('vector', 'f32', new Float32Array(2 * n).fill(n), [2]),
        raggedColumn('title', 'string', Strings.of(titles)),
        { name: 'ids', dtype: 'i32', data: Buffer.concat(lists), offsets: offsetsOf(lists) } as const,
      ]
    })
    const slab = new Slab(of, 6, 512, { rows: 0, requests: 2, heapUsed: 0 })
    const matched = new Matched()
    let row = 0
    let used = 0
    requests.forEach((inputs, request) => {
      const view = viewOf(inputs)
      expect(matchInputs(view, of, matched)).toBe(true)
      const to = [row, request, slab.heap, used] as const
      used = copyInputs(view, of, matched, slab.memory, slab.words, 64, slab.places, 0, matched.rows, ...to)
      row += matched.rows
    })
    row = 0
    requests.forEach((inputs, request) => {
      expect(slab.row(0, request)).toEqual(written(inputs[0]!, 1, 0))
      for (let r = 0; r <= request; r++, row++)
        for (let c = 1; c < 4; c++) expect(slab.row(c, row)).toEqual(written(inputs[c]!, request + 1, r))
    })
  })

  test.each([4, 511, 512, 513, 516, 4096])('of %i bytes, by words or at once, is the same', (bytes) => {
    const data = Uint8Array.from({ length: bytes }, (_, i) => (i * 31) & 0xff)
    const view = viewOf([denseColumn('a', 'u8', data, [bytes])])
    const of = intake([spec('a', 'u8', { shape: [bytes] })])
    const matched = new Matched()
    expect(matchInputs(view, of, matched)).toBe(true)
    const slab = new Slab(of, 1, 0, { rows: 1, requests: 0, heapUsed: 0 })
    copyInputs(view, of, matched, slab.memory, slab.words, 64, slab.places, 0, 1, 1, 0, slab.heap, 0)
    expect(slab.row(0, 1)).toEqual(data)
    expect(slab.strayWrite()).toBe(-1)
  })
})
