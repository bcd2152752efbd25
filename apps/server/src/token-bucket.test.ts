import fc from 'fast-check'
import { TokenBuckets } from './token-bucket'

const seed = Number(process.env['TEST_SEED'] ?? 7)
const rate = fc.double({ min: 0.1, max: 1e6, noNaN: true })
const burst = fc.integer({ min: 1, max: 1000 })
const gaps = fc.array(fc.nat(3_000_000), { minLength: 1, maxLength: 300 })

/** When each token was taken of one bucket that is asked after each gap, us. */
function taken(buckets: TokenBuckets, bucket: number, pauses: readonly number[], begin: number): number[] {
  let now = begin
  return pauses.flatMap((pause) => {
    now += pause
    if (!buckets.has(bucket, now)) return []
    buckets.take(bucket, now)
    return now
  })
}

test('no more than the burst and what drips meanwhile, between any two times', () => {
  fc.assert(
    fc.property(rate, burst, gaps, fc.nat(2 ** 40), (perSecond, most, pauses, begin) => {
      const times = taken(new TokenBuckets(perSecond, most), 0, pauses, begin)
      times.forEach((from, i) =>
        times.slice(i).forEach((to, n) => {
          // Sums of intervals are not exact.
          expect(n + 1).toBeLessThanOrEqual(most + ((to - from) * perSecond) / 1e6 + 0.01)
        }),
      )
    }),
    { seed },
  )
})

test('a full bucket has its burst at once, and one that is asked at its rate never lacks a token', () => {
  fc.assert(
    fc.property(rate, burst, (perSecond, most) => {
      const buckets = new TokenBuckets(perSecond, most)
      expect(taken(buckets, 0, new Array<number>(most + 5).fill(0), 1e12)).toHaveLength(most)
      const even = Array.from({ length: 200 }, () => 1e6 / perSecond)
      expect(taken(buckets, 1, even, 1e12)).toHaveLength(200)
    }),
    { seed },
  )
})

test("buckets are nobody else's", () => {
  const buckets = new TokenBuckets(1, 1)
  for (const bucket of [5, 0, 900, 3]) {
    expect(buckets.has(bucket, 0)).toBe(true)
    buckets.take(bucket, 0)
    expect(buckets.has(bucket, 990_000)).toBe(false)
    expect(buckets.has(bucket, 1_000_000)).toBe(true)
  }
})
