import { isWarm } from './warm'

describe('warm', () => {
  it('is a cost that has stopped falling', () => {
    const falling = Array.from({ length: 40 }, (_, i) => 1 + 20 * Math.exp(-i / 4))
    const warm = falling.map((_, i) => isWarm(falling.slice(0, i + 1)))
    expect(warm.slice(0, 19)).toEqual(Array(19).fill(false))
    expect(warm.indexOf(true)).toBeGreaterThan(20)
    expect(warm.at(-1)).toBe(true)
  })

  it('is not a cost that rests half way, shorter than it is looked at', () => {
    // TFJS on two shared CPUs, tenths of a second: code that is compiled in the background waits for its turn.
    const seen = [7.9, 8.2, 5.9, 9.2, 13.3, 4.9, 8.1, 8.4, 5, 7.7, 6.7, 4.4, 4.8, 3.9, 3.8, 4.7, 3.3, 3.7, 3.3, 3.1]
    const twice = [...seen, ...Array<number>(20).fill(3.1)].flatMap((cost) => [cost, cost])
    const warm = twice.findIndex((_, i) => isWarm(twice.slice(0, i + 1)))
    expect(twice[warm]).toBeLessThan(3.5)
  })

  it('is not decided by one window, nor by those without replies', () => {
    const some = [1, 1.1, 0.9, 1, 9, 1, 1, 0.2, 1, 1]
    const steady = [...some, ...some]
    expect(isWarm(steady)).toBe(true)
    expect(isWarm(steady.slice(1))).toBe(false)
    expect(isWarm([NaN, Infinity, ...steady.slice(1)])).toBe(false)
  })
})
