import { Refusal, Strings, type ColumnSpec } from '@millrace/base'
import fc from 'fast-check'
import { columnsFromJson, columnsToJson } from './columns-json'

function spec(name: string, dtype: ColumnSpec['dtype'], more: Partial<ColumnSpec> = {}): ColumnSpec {
  return { name, dtype, per: 'row', shape: [], ragged: dtype === 'string' || dtype === 'bytes', ...more }
}

const specs: readonly ColumnSpec[] = [
  spec('account', 'u64', { per: 'request' }),
  spec('profile', 'f32', { per: 'request', shape: [2] }),
  spec('tags', 'string', { per: 'request' }),
  spec('title', 'string'),
  spec('image', 'bytes'),
  spec('vector', 'f32', { shape: [3] }),
  spec('grid', 'i16', { shape: [2, 2] }),
  spec('ids', 'i32', { ragged: true }),
  spec('flag', 'bool'),
]

const good = {
  account: '18446744073709551615',
  profile: [1, 2],
  tags: 'x',
  title: ['a', 'é'],
  image: ['AAEC', ''],
  vector: [
    [1, 2, 3],
    [4, 5, 6],
  ],
  grid: [
    [
      [1, 2],
      [3, 4],
    ],
    [
      [5, 6],
      [7, 8],
    ],
  ],
  ids: [[1, 2, 3], []],
  flag: [true, false],
}

describe('columnsFromJson', () => {
  it.each(specs.map((one) => [one.name]))('refuses lists nested a hundred thousand deep for %s', (name) => {
    const deep = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000)) as unknown
    expect(() => columnsFromJson(specs, { ...good, [name]: deep })).toThrow(Refusal)
    expect(() => columnsFromJson(specs, { ...good, [name]: [deep] })).toThrow(Refusal)
  })

  it('reads every kind of column, and columnsToJson writes it back', () => {
    const { rows, inputs } = columnsFromJson(specs, good)
    expect(rows).toBe(2)
    expect(inputs.account).toEqual(new BigUint64Array([2n ** 64n - 1n]))
    expect(inputs.vector).toEqual(new Float32Array([1, 2, 3, 4, 5, 6]))
    expect(inputs.grid).toEqual(new Int16Array([1, 2, 3, 4, 5, 6, 7, 8]))
    expect((inputs.title as Strings).toArray()).toEqual(['a', 'é'])
    expect([...(inputs.image as Strings).bytes(0)]).toEqual([0, 1, 2])
    expect(columnsToJson(specs, inputs)).toEqual(good)
  })

  it('takes a flat list of a shaped column, however long', () => {
    const { rows } = columnsFromJson([spec('vector', 'f32', { shape: [4] })], { vector: new Array(400_000).fill(1) })
    expect(rows).toBe(100_000)
  })

  it('takes the shorter ways to write the same', () => {
    const same = {
      ...good,
      account: ['18446744073709551615'],
      profile: [[1, 2]],
      tags: ['x'],
      vector: { base64: Buffer.from(new Float32Array([1, 2, 3, 4, 5, 6]).buffer).toString('base64') },
      grid: [1, 2, 3, 4, 5, 6, 7, 8],
      flag: [1, 0],
    }
    expect(columnsToJson(specs, columnsFromJson(specs, same).inputs)).toEqual(good)
  })

  it.each<[string, Record<string, unknown>, string]>([
    [
      'a wrong element',
      {
        vector: [
          [1, 2, 3],
          [4, 'x', 6],
        ],
      },
      'inputs.vector[1][1]: expected f32, got "x"',
    ],
    [
      'a short row',
      {
        vector: [
          [1, 2, 3],
          [4, 5],
        ],
      },
      'inputs.vector[1]: expected 3 values, f32[3]; got 2',
    ],
    ['a scalar for a list', { title: 'a' }, 'inputs.title: expected a list, one value a row, string; got "a"'],
    ['rows that differ', { title: ['a'] }, 'inputs.image: 2 rows, but inputs.title has 1'],
    [
      'a number beyond its dtype',
      { grid: [1, 2, 3, 40_000, 5, 6, 7, 8] },
      'inputs.grid[0][3]: expected i16, from -32768 to 32767; got 40000',
    ],
    [
      'an inexact integer',
      { account: 2 ** 60 },
      'inputs.account[0]: expected u64, beyond 2^53 as decimal text, got 11529215046068',
    ],
    ['two values per request', { account: [1, 2] }, 'inputs.account: 2 values; expected one, u64 per request'],
    ['a missing column', { flag: undefined }, 'inputs.flag: expected a list'],
    ['an unknown column', { titel: [] }, 'inputs.titel: no such column; the workflow takes account,'],
    ['bytes that are no base64', { image: ['?', ''] }, 'inputs.image[0]: not base64: "?"'],
    ['a list inside a row', { flag: [[true], [false]] }, 'inputs.flag[0]: expected bool, got a list inside a row'],
  ])('refuses %s, naming it', (_, change, message) => {
    const read = (): unknown => columnsFromJson(specs, { ...good, ...change })
    expect(read).toThrow(Refusal)
    expect(read).toThrow(message)
  })

  it('names a column that is not there', () => {
    expect(() => columnsFromJson(specs, {})).toThrow('inputs.account: missing; expected u64 per request')
    expect(() => columnsFromJson(specs, [])).toThrow('inputs: expected an object of columns, got []')
  })

  it('is its own inverse for random numbers and lists', () => {
    const numbers = [spec('a', 'f64'), spec('b', 'i64'), spec('c', 'u8', { ragged: true }), spec('d', 'string')]
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.double({ noDefaultInfinity: true, noNaN: true }),
            fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
            fc.array(fc.nat(255)),
            fc.string({ unit: 'grapheme' }),
          ),
          { minLength: 1 },
        ),
        (rows) => {
          const wide = (value: bigint): number | string =>
            Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
          const json = {
            a: rows.map(([a]) => a),
            b: rows.map(([, b]) => wide(b)),
            c: rows.map(([, , c]) => c),
            d: rows.map(([, , , d]) => d),
          }
          expect(columnsToJson(numbers, columnsFromJson(numbers, json).inputs)).toEqual(json)
        },
      ),
      { seed: 20261123 },
    )
  })
})
