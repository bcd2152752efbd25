import { murmur3, Strings } from '@millrace/base'
import fc from 'fast-check'
import { Lists } from '../lists'
import {
  affinity,
  bucketise,
  concat,
  dot,
  embed,
  hashNumbers,
  hashStrings,
  impute,
  log1p,
  lookUp,
  missing,
  multiHot,
  normalise,
  oneHot,
  rank,
  spread,
  unitLength,
  Vocabulary,
} from './index'

/*
 * Every step against a naive loop over rows, with a random place (stride, offset) in a matrix: the step's columns are
 * as the loop says, and no other element of the matrix is touched.
 */

const seed = 20261123
const float = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 })
const small = fc.integer({ min: -3, max: 12 })

interface Place {
  readonly before: number
  readonly after: number
}
const place = fc.record({ before: fc.nat(3), after: fc.nat(3) })

/** Runs `write` at a place and compares with `expected`, by row; untouched elements keep their 777. */
function check(
  rows: number,
  width: number,
  { before, after }: Place,
  write: (into: Float32Array, stride: number, offset: number) => void,
  expected: (row: number, j: number) => number,
): void {
  const stride = before + width + after
  const into = new Float32Array(rows * stride).fill(777)
  write(into, stride, before)
  const wanted = new Float32Array(rows * stride).fill(777)
  for (let row = 0; row < rows; row++)
    for (let j = 0; j < width; j++) wanted[row * stride + before + j] = expected(row, j)
  expect(into).toEqual(wanted)
}

describe('steps', () => {
  it('normalise', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(float, float), { maxLength: 20 }),
        fc.tuple(float, float),
        fc.tuple(float, fc.constant(0)),
        place,
        (rows, mean, deviation, at) => {
          const values = new Float32Array(rows.flat())
          check(
            rows.length,
            2,
            at,
            (into, stride, offset) => normalise(values, mean, deviation, into, stride, offset),
            (row, j) => {
              const scale = deviation[j] === 0 ? 1 : 1 / deviation[j]!
              return (values[row * 2 + j]! - mean[j]!) * scale
            },
          )
        },
      ),
      { seed },
    )
  })

  it('log1p, impute, missing', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(float, fc.constant(NaN)), { maxLength: 20 }),
        float,
        place,
        (list, replacement, at) => {
          const values = new Float32Array(list)
          check(
            list.length,
            1,
            at,
            (into, stride, offset) => log1p(values, into, stride, offset),
            (row) => Math.log1p(values[row]!),
          )
          check(
            list.length,
            1,
            at,
            (into, stride, offset) => impute(values, replacement, into, stride, offset),
            (row) => (Number.isNaN(values[row]!) ? replacement : values[row]!),
          )
          check(
            list.length,
            1,
            at,
            (into, stride, offset) => missing(values, into, stride, offset),
            (row) => (Number.isNaN(values[row]!) ? 1 : 0),
          )
        },
      ),
      { seed },
    )
  })

  it('bucketise counts the boundaries at or below', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(small, fc.constant(NaN))), fc.array(small), place, (list, unsorted, at) => {
        const boundaries = [...unsorted].sort((a, b) => a - b)
        const values = new Float32Array(list)
        check(
          list.length,
          1,
          at,
          (into, stride, offset) => bucketise(values, boundaries, into, stride, offset),
          (row) => boundaries.filter((b) => b <= values[row]!).length,
        )
      }),
      { seed },
    )
  })

  it('hash is murmur3 of the bytes, modulo the buckets', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' })),
        fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
        fc.integer({ min: 1, max: 1000 }),
        fc.nat(),
        place,
        (texts, numbers, buckets, hashSeed, at) => {
          check(
            texts.length,
            1,
            at,
            (into, stride, offset) => hashStrings(Strings.of(texts), buckets, into, hashSeed, stride, offset),
            (row) => {
              const bytes = Buffer.from(texts[row]!)
              return murmur3(bytes, 0, bytes.length, hashSeed) % buckets
            },
          )
          check(
            numbers.length,
            1,
            at,
            (into, stride, offset) =>
              hashNumbers(BigUint64Array.from(numbers), buckets, into, hashSeed, stride, offset),
            (row) => {
              const bytes = Buffer.alloc(8)
              bytes.writeBigUInt64LE(numbers[row]!)
              return murmur3(bytes, 0, 8, hashSeed) % buckets
            },
          )
        },
      ),
      { seed },
    )
  })

  it('oneHot and multiHot leave out what is beyond the width', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(small, { maxLength: 5 })),
        fc.integer({ min: 1, max: 8 }),
        place,
        (lists, width, at) => {
          const firsts = Int32Array.from(lists, (list) => list[0] ?? -1)
          check(
            lists.length,
            width,
            at,
            (into, stride, offset) => oneHot(firsts, width, into, stride, offset),
            (row, j) => (firsts[row] === j ? 1 : 0),
          )
          const column = new Lists('i32', Strings.of(lists.map((list) => new Uint8Array(Int32Array.from(list).buffer))))
          check(
            lists.length,
            width,
            at,
            (into, stride, offset) => multiHot(column, width, into, stride, offset),
            (row, j) => (lists[row]!.includes(j) ? 1 : 0),
          )
        },
      ),
      { seed },
    )
  })

  it('embed looks rows up, zeros for those that are not there', () => {
    fc.assert(
      fc.property(fc.array(small), fc.integer({ min: 1, max: 4 }), fc.nat(6), place, (list, width, entries, at) => {
        const table = Float32Array.from({ length: entries * width }, (_, i) => i + 1)
        check(
          list.length,
          width,
          at,
          (into, stride, offset) => embed(Int32Array.from(list), table, width, into, stride, offset),
          (row, j) => (list[row]! >= 0 && list[row]! < entries ? list[row]! * width + j + 1 : 0),
        )
      }),
      { seed },
    )
  })

  it('concat copies rows, spread copies a request to each of its rows', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(float, float, float), { minLength: 1 }),
        fc.array(fc.nat()),
        place,
        (vectors, rows, at) => {
          const values = new Float32Array(vectors.flat())
          const requestOf = Uint32Array.from(rows, (row) => row % vectors.length)
          check(
            vectors.length,
            3,
            at,
            (into, stride, offset) => concat(values, 3, into, stride, offset),
            (row, j) => values[row * 3 + j]!,
          )
          check(
            rows.length,
            3,
            at,
            (into, stride, offset) => spread(values, 3, requestOf, into, stride, offset),
            (row, j) => values[requestOf[row]! * 3 + j]!,
          )
        },
      ),
      { seed },
    )
  })

  it('affinity and dot join a row with its request', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(float, float, float), { minLength: 1 }),
        fc.array(fc.tuple(fc.nat(), small, fc.tuple(small, small, small))),
        place,
        (vectors, rows, at) => {
          const perRequest = new Float32Array(vectors.flat())
          const requestOf = Uint32Array.from(rows, ([request]) => request % vectors.length)
          const categories = Int32Array.from(rows, ([, category]) => category)
          const perRow = new Float32Array(rows.flatMap(([, , vector]) => vector))
          check(
            rows.length,
            1,
            at,
            (into, stride, offset) => affinity(perRequest, 3, requestOf, categories, into, stride, offset),
            (row) => {
              const hot = [0, 1, 2].map((j) => (categories[row] === j ? 1 : 0))
              return hot.reduce<number>((sum, h, j) => (h === 1 ? perRequest[requestOf[row]! * 3 + j]! : sum), 0)
            },
          )
          check(
            rows.length,
            1,
            at,
            (into, stride, offset) => dot(perRequest, perRow, 3, requestOf, into, stride, offset),
            (row) => [0, 1, 2].reduce((sum, j) => sum + perRequest[requestOf[row]! * 3 + j]! * perRow[row * 3 + j]!, 0),
          )
        },
      ),
      { seed },
    )
  })

  it('Vocabulary finds every word and no other', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ unit: 'grapheme', maxLength: 4 })),
        fc.array(fc.string({ maxLength: 3 })),
        place,
        (words, others, at) => {
          const asked = [...words, ...others]
          check(
            asked.length,
            1,
            at,
            (into, stride, offset) => lookUp(Strings.of(asked), new Vocabulary(words), into, -5, stride, offset),
            (row) => {
              const index = words.indexOf(asked[row]!)
              return index < 0 ? -5 : index
            },
          )
        },
      ),
      { seed },
    )
    expect(() => new Vocabulary(['a', 'b', 'a'])).toThrow("'a' twice")
  })

  it('unitLength', () => {
    const rows = new Float32Array([3, 4, 0, 0, 5, 12])
    unitLength(rows, 2)
    ;[0.6, 0.8, 0, 0, 5 / 13, 12 / 13].forEach((value, i) => expect(rows[i]).toBeCloseTo(value, 6))
  })
})

test('rank is a stable sort of each request, NaN last', () => {
  const score = fc.oneof(fc.float(), fc.constantFrom(0, -0, 1, -1, NaN, Infinity, -Infinity, 1e-45, -1e-45))
  fc.assert(
    fc.property(fc.array(fc.array(score, { minLength: 1, maxLength: 40 }), { maxLength: 6 }), (requests) => {
      const scores = Float32Array.from(requests.flat())
      const requestOf = Uint32Array.from(requests.flatMap((rows, r) => rows.map(() => r)))
      const places = new Uint32Array(scores.length)
      rank(scores, requestOf, places)
      const expected = requests.flatMap((rows) => {
        const value = (i: number): number => (Number.isNaN(rows[i]!) ? -Infinity : Math.fround(rows[i]!))
        const last = (i: number): number => (Number.isNaN(rows[i]!) ? 1 : 0)
        const order = rows
          .map((_, i) => i)
          .sort((a, b) => last(a) - last(b) || (value(b) > value(a) ? 1 : value(b) < value(a) ? -1 : a - b))
        return rows.map((_, i) => order.indexOf(i) + 1)
      })
      expect([...places]).toEqual(expected)
    }),
    { seed },
  )
})
