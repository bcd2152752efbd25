import fc from 'fast-check'
import type { ColumnSpec, Signature } from '@millrace/base'
import { compare, comparedValuesMax, comparisonOf, type OutputBytes } from './compare'
import { kendallTau, rankedRowsMax, topOverlap } from './ranking'

const seed = 1

/** By the definition, pair by pair. */
function tauOf(a: readonly number[], b: readonly number[]): number {
  let [concordant, discordant, tiedA, tiedB] = [0, 0, 0, 0]
  for (let i = 0; i < a.length; i++)
    for (let j = 0; j < i; j++) {
      const [x, y] = [Math.sign(a[i]! - a[j]!), Math.sign(b[i]! - b[j]!)]
      if (x === 0) tiedA++
      if (y === 0) tiedB++
      if (x * y > 0) concordant++
      if (x * y < 0) discordant++
    }
  const pairs = (a.length * (a.length - 1)) / 2
  return (concordant - discordant) / Math.sqrt((pairs - tiedA) * (pairs - tiedB))
}

function topOf(values: readonly number[], k: number): Set<number> {
  const order = values.map((_, i) => i).sort((i, j) => values[j]! - values[i]! || i - j)
  return new Set(order.slice(0, k))
}

// Few values, so that many are equal.
const sides = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })), { minLength: 2, maxLength: 80 })
  .map((rows) => [rows.map(([a]) => a), rows.map(([, b]) => b)] as const)

test("Kendall's tau and the overlap of the highest are what their definitions say", () => {
  fc.assert(
    fc.property(sides, fc.integer({ min: 1, max: 20 }), ([a, b], k) => {
      const [left, right] = [Float64Array.from(a), Float64Array.from(b)]
      const [tau, expected] = [kendallTau(left, right, a.length), tauOf(a, b)]
      if (Number.isNaN(expected)) expect(tau).toBeNaN()
      else expect(tau).toBeCloseTo(expected, 12)
      const [one, other] = [topOf(a, k), topOf(b, k)]
      const both = [...one].filter((i) => other.has(i)).length
      expect(topOverlap(left, right, a.length, k)).toBe(both / Math.min(k, a.length))
    }),
    { seed, numRuns: 500 },
  )
  const most = Float64Array.from({ length: rankedRowsMax }, (_, i) => Math.sin(i))
  expect(kendallTau(most, most, most.length)).toBe(1)
  expect(
    kendallTau(
      most,
      most.map((x) => -x),
      most.length,
    ),
  ).toBe(-1)
})

const column = (name: string, dtype: ColumnSpec['dtype'], more: Partial<ColumnSpec> = {}): ColumnSpec => ({
  name,
  dtype,
  shape: [],
  per: 'row',
  ragged: dtype === 'string' || dtype === 'bytes',
  ...more,
})
const answering = (...outputs: ColumnSpec[]): Signature => ({ inputs: [], outputs })
const bytesOf = (values: ArrayBufferView): OutputBytes => ({
  data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
})
const plain = { tolerance: 1e-6, top_k: 2 }

/** One output of two versions. */
function differ(
  primary: Float32Array | Float64Array,
  copy: Float32Array | Float64Array,
  how = plain,
): ReturnType<typeof compare> {
  const dtype = (values: object): 'f32' | 'f64' => (values instanceof Float32Array ? 'f32' : 'f64')
  const { outputs } = comparisonOf(
    answering(column('y', dtype(primary))),
    answering(column('y', dtype(copy))),
    undefined,
  )
  return compare(outputs[0]!, bytesOf(primary), bytesOf(copy), primary.length, how)
}

test('values differ by their absolute difference; beyond a tolerance they count', () => {
  const difference = differ(Float32Array.of(1, 2, 3, 4), Float64Array.of(1, 2.25, 2, 4), { tolerance: 0.5, top_k: 2 })
  expect(difference).toMatchObject({ values: 4, beyond: 1, infinite: 0, sum: 1.25, max: 1 })
  // Highest two: rows 2 and 3 against 1 and 3.
  expect(difference.overlap).toBe(0.5)
})

test('what is a number on one side alone is beyond every tolerance, and in no mean', () => {
  const a = Float64Array.of(NaN, NaN, 1, Infinity, Infinity, -Infinity)
  const b = Float64Array.of(NaN, 1, NaN, Infinity, -Infinity, 0)
  expect(differ(a, b, { tolerance: 1e300, top_k: 2 })).toMatchObject({
    values: 6,
    beyond: 4,
    infinite: 4,
    sum: 0,
    max: 0,
  })
})

test('whole numbers of 64 bits differ by one where they do', () => {
  const one = BigUint64Array.of(2n ** 60n, 5n)
  const { outputs } = comparisonOf(answering(column('id', 'u64')), answering(column('id', 'u64')), undefined)
  const difference = compare(outputs[0]!, bytesOf(one), bytesOf(BigUint64Array.of(2n ** 60n + 1n, 3n)), 2, plain)
  expect(difference).toMatchObject({ values: 2, beyond: 2, sum: 3, max: 2 })
})

test('numbers that lie anywhere in a message are read', () => {
  const shifted = new Uint8Array(17)
  shifted.set(new Uint8Array(Float64Array.of(1, 2).buffer), 1)
  const { outputs } = comparisonOf(answering(column('y', 'f64')), answering(column('y', 'f64')), undefined)
  const difference = compare(outputs[0]!, { data: shifted.subarray(1) }, bytesOf(Float64Array.of(1, 2)), 2, plain)
  expect(difference).toMatchObject({ values: 2, beyond: 0, max: 0 })
})

test('texts are equal or not', () => {
  const texts = (...words: string[]): OutputBytes => {
    const data = Buffer.from(words.join(''))
    const offsets = Uint32Array.from([0, ...words.map((_, i) => Buffer.byteLength(words.slice(0, i + 1).join('')))])
    return { data, offsets }
  }
  const { outputs } = comparisonOf(answering(column('word', 'string')), answering(column('word', 'string')), undefined)
  const difference = compare(outputs[0]!, texts('a', 'bc', 'é'), texts('a', 'b', 'é'), 3, plain)
  expect(difference).toMatchObject({ values: 3, beyond: 1, sum: 1, max: 1, tau: NaN, overlap: NaN })
})

test('a large output is compared as far as it goes, a long ranking too', () => {
  const a = new Float32Array(comparedValuesMax + 100).fill(1)
  expect(
    differ(
      a,
      a.map((_, i) => i),
    ),
  ).toMatchObject({ values: comparedValuesMax })
})

test('what one version answers and the other does not is said, not compared', () => {
  const wide = column('wide', 'f32', { shape: [3] })
  const once = column('once', 'f32', { per: 'request' })
  const comparison = comparisonOf(
    answering(column('y', 'f32'), column('gone', 'f32'), wide, column('word', 'string'), once),
    answering(column('new', 'f32'), column('y', 'i32'), { ...wide, shape: [2] }, column('word', 'u8'), once),
    undefined,
  )
  expect(
    comparison.outputs.map(({ name, primary, copy, ranks, elements }) => [name, primary, copy, ranks, elements]),
  ).toEqual([
    ['y', 0, 1, true, 1],
    ['once', 4, 4, false, 1],
  ])
  expect(comparison.apart).toEqual([
    'gone: the copy does not answer it',
    'wide: is of another kind or shape',
    'word: is of another kind or shape',
    'new: only the copy answers it',
  ])
  const named = (ranking: string): boolean[] =>
    comparisonOf(
      answering(column('a', 'f32'), column('b', 'i32')),
      answering(column('a', 'f32'), column('b', 'i32')),
      ranking,
    ).outputs.map(({ ranks }) => ranks)
  expect([named('b'), named('c')]).toEqual([
    [false, true],
    [false, false],
  ])
})
