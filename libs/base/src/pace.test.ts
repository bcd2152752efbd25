import { performance } from 'node:perf_hooks'
import { pace } from './pace'

const timesOf = (times: number[]) => {
  let i = 0
  return (): number => times[i++] ?? Infinity
}

describe('pace', () => {
  it.each([0, 0.1])(
    'hands every time of the schedule on, in order and not before it came (naps of %d ms)',
    async (napMs) => {
      const times = Array.from({ length: 300 }, (_, i) => i * 0.3)
      const late: number[] = []
      const dues: number[] = []
      await pace(
        timesOf(times),
        (dueMs) => {
          late.push(performance.now() - dueMs)
          dues.push(dueMs)
        },
        { napMs },
      ).done
      expect(dues).toHaveLength(times.length)
      expect(dues.map((due) => due - dues[0]!)).toEqual(times.map((time) => expect.closeTo(time, 6)))
      expect(Math.min(...late)).toBeGreaterThanOrEqual(0)
    },
  )

  it('catches up after a stall, with the times that were due', async () => {
    const dues: number[] = []
    const begun = performance.now()
    await pace(timesOf([0, 5, 10, 15]), (dueMs) => {
      if (dues.length === 0) while (performance.now() < begun + 40);
      dues.push(dueMs)
    }).done
    expect(dues.map((due) => due - dues[0]!)).toEqual([0, 5, 10, 15].map((time) => expect.closeTo(time, 6)))
    expect(dues[3]! - dues[0]!).toBeLessThan(40)
  })

  it('reads what comes back between arrivals that it is behind with', async () => {
    let [arrived, seen] = [0, 0]
    setImmediate(function look() {
      if (arrived > 0 && arrived < 100_000) seen++
      if (arrived < 100_000) setImmediate(look)
    })
    await pace(
      () => (arrived < 100_000 ? 0 : Infinity),
      () => arrived++,
    ).done
    expect(seen).toBeGreaterThan(10)
  })

  it('stops', async () => {
    let arrived = 0
    const going = pace(
      () => arrived * 0.01,
      () => {
        if (++arrived === 5) going.stop()
      },
    )
    await going.done
    expect(arrived).toBe(5)
  })
})
