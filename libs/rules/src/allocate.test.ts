import { murmur3 } from '@millrace/base'
import fc from 'fast-check'
import { allocate, bucketOf, murmur3Words, objectiveHash } from './index'
import vectors from '../vectors.json'

test('words hash as their bytes do', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer(), (text, seed) => {
      const bytes = new TextEncoder().encode(text)
      // Bytes after the text are not zero: a message goes on.
      const padded = new Uint8Array((bytes.length + 7) & ~3).fill(0xee)
      padded.set(bytes)
      const words = new Uint32Array(padded.buffer)
      expect(murmur3Words(words, 0, bytes.length, seed)).toBe(murmur3(bytes, 0, bytes.length, seed))
    }),
    { seed: 1 },
  )
})

test('published vectors', () => {
  expect(objectiveHash('a')).toEqual({ hi: 0xaf63dc4c, lo: 0x8601ec8c })
  expect(objectiveHash('foobar')).toEqual({ hi: 0x85944171, lo: 0xf73967e8 })
  expect(murmur3Words(new Uint32Array(0), 0, 0, 1)).toBe(0x514e28b7)
  expect(murmur3Words(new Uint32Array([0x64636261]), 0, 4, 0x9747b28c)).toBe(0xf0478627)
})

test('the vectors that other languages check against', () => {
  for (const { name, hash } of vectors.objectives) {
    const { lo, hi } = objectiveHash(name)
    expect(((BigInt(hi) << 32n) | BigInt(lo)).toString(16).padStart(16, '0')).toBe(hash)
  }
  for (const { salt, subject, bucket, cell } of vectors.allocations) {
    expect(bucketOf(salt, subject)).toBe(bucket)
    expect(allocate(salt, subject, vectors.cells).name).toBe(cell)
  }
})

describe('allocation', () => {
  const weights = [10, 20, 30, 40]
  const arms = weights.map((weight, i) => ({ name: `${i}`, weight }))
  const subjects = Array.from({ length: 40_000 }, (_, i) => `account-${i}`)
  const arm = (salt: string, subject: string): number => Number(allocate(salt, subject, arms).name)

  /** Sum of squared deviations over what is expected. */
  const chiSquare = (counts: readonly number[], expected: readonly number[]): number =>
    counts.reduce((sum, count, i) => sum + (count - expected[i]!) ** 2 / expected[i]!, 0)

  // Bounds are the 99.9th percentiles for 3 and for 9 degrees of freedom.
  test.each(['price-model', 'a', 'layout 2'])('is as the weights say: salt %j', (salt) => {
    const counts = arms.map(() => 0)
    for (const subject of subjects) counts[arm(salt, subject)]!++
    const expected = weights.map((weight) => (weight / 100) * subjects.length)
    expect(chiSquare(counts, expected)).toBeLessThan(16.27)
  })

  test.each([
    ['price-model', 'title-model'],
    ['experiment-1', 'experiment-2'],
    ['a', 'b'],
    // Taking part and the cell are two decisions of one rule.
    ['price-model', 'price-model/share'],
  ])('of %j tells nothing about %j', (one, other) => {
    const counts = Array<number>(16).fill(0)
    for (const subject of subjects) counts[4 * arm(one, subject) + arm(other, subject)]!++
    const row = (i: number): number => counts.slice(4 * i, 4 * i + 4).reduce((sum, n) => sum + n, 0)
    const column = (j: number): number => counts.reduce((sum, n, k) => sum + (k % 4 === j ? n : 0), 0)
    const expected = counts.map((_, k) => (row(k >> 2) * column(k & 3)) / subjects.length)
    expect(chiSquare(counts, expected)).toBeLessThan(27.88)
  })

  test('is uniform over many small buckets', () => {
    const counts = new Array<number>(1000).fill(0)
    for (const subject of subjects) counts[Math.floor((bucketOf('s', subject) / 2 ** 32) * 1000)]!++
    // 999 degrees of freedom.
    expect(
      chiSquare(
        counts,
        counts.map(() => subjects.length / 1000),
      ),
    ).toBeLessThan(1143)
  })

  test('is sticky: a cell that grows keeps its subjects', () => {
    const grown = [
      { name: 'new', weight: 30 },
      { name: 'old', weight: 70 },
    ]
    const small = [
      { name: 'new', weight: 10 },
      { name: 'old', weight: 90 },
    ]
    for (const subject of subjects.slice(0, 5000))
      if (allocate('canary', subject, small).name === 'new') expect(allocate('canary', subject, grown).name).toBe('new')
  })
})
