import fc from 'fast-check'
import { Buckets, latencyBoundsUs, rowBounds } from './index'

test('an observation is in the first bucket whose bound it does not exceed', () => {
  const bounds = fc
    .uniqueArray(fc.integer({ min: -50, max: 50 }), { maxLength: 12 })
    .map((bounds) => bounds.sort((a, b) => a - b))
  const observations = fc.array(fc.tuple(fc.integer({ min: -60, max: 60 }), fc.integer({ min: 1, max: 5 })))
  fc.assert(
    fc.property(bounds, observations, (bounds, observations) => {
      const buckets = new Buckets(bounds)
      const counts = new Array<number>(bounds.length + 1).fill(0)
      for (const [value, times] of observations) {
        buckets.observe(value, times)
        const first = bounds.findIndex((bound) => value <= bound)
        counts[first < 0 ? bounds.length : first]! += times
      }
      expect([...buckets.counts]).toEqual(counts)
      expect(buckets.count).toBe(observations.reduce((sum, [, times]) => sum + times, 0))
      expect(buckets.sum).toBe(observations.reduce((sum, [value, times]) => sum + value * times, 0))
    }),
    { seed: 1 },
  )
})

test.each([latencyBoundsUs, rowBounds])('bounds ascend', (...bounds) => {
  expect(bounds).toEqual([...new Set(bounds)].sort((a, b) => a - b))
})
