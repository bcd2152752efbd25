import { scheduleOf, type Arrivals } from './schedule'

/** The first times of all processes together. */
function times(arrivals: Arrivals, recordedUs: readonly number[], parts: number, count: number): number[] {
  return Array.from({ length: parts }, (_, part) => scheduleOf(arrivals, recordedUs, { part, parts, seed: 7 }))
    .flatMap((next) => Array.from({ length: count / parts }, next))
    .sort((a, b) => a - b)
}

describe('a schedule', () => {
  it.each([1, 3])('is even over %d processes', (parts) => {
    const all = times({ kind: 'even', perSecond: 1000 }, [], parts, 30)
    expect(all).toEqual(Array.from({ length: 30 }, (_, i) => expect.closeTo(i, 6)))
  })

  it.each([1, 4])('of independent users has gaps whose mean and deviation are the same, over %d processes', (parts) => {
    const all = times({ kind: 'poisson', perSecond: 1000 }, [], parts, 20_000).slice(0, 19_000)
    const gaps = all.slice(1).map((at, i) => at - all[i]!)
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length)
    expect(mean).toBeCloseTo(1, 1)
    expect(deviation).toBeCloseTo(1, 1)
  })

  it.each([1, 2])('replays what was recorded at its speed, over and over, over %d processes', (parts) => {
    const all = times({ kind: 'recorded', speed: 2 }, [5000, 6000, 9000, 11_000], parts, 8)
    // The round takes 8 ms: 6 ms and the mean gap.
    expect(all).toEqual([0, 0.5, 2, 3, 4, 4.5, 6, 7].map((at) => expect.closeTo(at, 6)))
  })
})
