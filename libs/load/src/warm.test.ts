import { isWarm } from './warm'

describe('warm', () => {
  it('is a cost that has stopped falling', () => {
    const falling = Array.from({ length: 40 }, (_, i) => 1 + 20 * Math.exp(-i / 4))
    const warm = falling.map((_, i) => isWarm(falling.slice(0, i + 1)))
    expect(warm.slice(0, 9)).toEqual(Array(9).fill(false))
    expect(warm.indexOf(true)).toBeGreaterThan(15)
    expect(warm.at(-1)).toBe(true)
  })

  it('is not decided by one window, nor by those without replies', () => {
    const steady = [1, 1.1, 0.9, 1, 9, 1, 1, 0.2, 1, 1]
    expect(isWarm(steady)).toBe(true)
    expect(isWarm(steady.slice(1))).toBe(false)
    expect(isWarm([NaN, Infinity, ...steady.slice(1)])).toBe(false)
  })
})
