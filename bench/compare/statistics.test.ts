import { seededRandom } from '@millrace/base'
import { ratioOf } from './statistics'

describe('a paired ratio', () => {
  it('is what Student says of the logarithms', () => {
    // ln 1.1, ln 1.2, ln 1.3: mean 0.18001, deviation 0.08362, t(2) = 4.303.
    const { ratio, low, high } = ratioOf([
      [1.1, 1],
      [2.4, 2],
      [13, 10],
    ])
    expect([ratio, low, high]).toEqual([1.1972, 0.9727, 1.4736].map((n) => expect.closeTo(n, 3)))
  })

  it('has no noise in it that both of a pair had', () => {
    const machines = [1, 30, 7, 0.2, 900]
    const { ratio, low, high } = ratioOf(machines.map((slow) => [1.05 * slow, slow]))
    expect([ratio, low, high]).toEqual([1.05, 1.05, 1.05].map((n) => expect.closeTo(n, 6)))
  })

  it('holds the true ratio nearly always, and no longer the more rounds there are', () => {
    const random = seededRandom(1908)
    const noise = (): number => Math.exp(0.1 * (random() + random() + random() + random() - 2))
    const trials = 2000
    let held = 0
    for (let i = 0; i < trials; i++) {
      const { low, high } = ratioOf(Array.from({ length: 6 }, () => [1.1 * noise(), noise()] as const))
      if (low <= 1.1 && 1.1 <= high) held++
    }
    expect(held / trials).toBeGreaterThan(0.93)
    expect(held / trials).toBeLessThan(0.97)
  })
})
