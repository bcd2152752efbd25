import { makeSeats, takeSeat, ThreadWork } from './index'
import { mayEnd, turnsOf } from './thread-work'
import { Watchdog } from './watchdog'

describe('watchdog', () => {
  const thread = (): { turns: () => number; n: number } => {
    const one = { n: 0, turns: () => one.n }
    return one
  }

  test('names a thread once whose batch takes longer than it may', () => {
    const watchdog = new Watchdog<ReturnType<typeof thread>>(100)
    const [busy, idle] = [thread(), thread()]
    busy.n = 7
    const look = (ms: number) => watchdog.look([busy, idle], ms)
    expect(look(0)).toEqual({ over: [], again: [] })
    expect(look(100)).toEqual({ over: [], again: [] })
    expect(look(101)).toEqual({ over: [busy], again: [] })
    expect(look(1000)).toEqual({ over: [], again: [] })
    busy.n = 8
    expect(look(1001)).toEqual({ over: [], again: [busy] })
    expect(look(2000)).toEqual({ over: [], again: [] })
  })

  test('one batch after the other is not one that takes long', () => {
    const watchdog = new Watchdog<ReturnType<typeof thread>>(100)
    const busy = thread()
    for (let ms = 0; ms < 1000; ms += 50) {
      busy.n = 1 + 2 * Math.floor(ms / 100)
      expect(watchdog.look([busy], ms)).toEqual({ over: [], again: [] })
    }
  })
})

describe('what a thread is doing', () => {
  test('it may be ended, but for in native code; and enters none from then on', async () => {
    const seats = makeSeats([[], []])
    takeSeat(seats, 5, 105)
    const work = ThreadWork.of(seats, 5)
    work.turn()
    expect(turnsOf(seats, 5)).toBe(1)
    await work.native(async () => {
      expect(mayEnd(seats, 5)).toBe(false)
      await work.native(() => Promise.resolve(expect(mayEnd(seats, 5)).toBe(false)))
      expect(mayEnd(seats, 5)).toBe(false)
    })
    await expect(work.native(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(mayEnd(seats, 5)).toBe(true)
    expect(mayEnd(seats, 5)).toBe(true)
    expect(seats.work[1]).toBe(-1)
    // A thread that has no seat has not begun.
    expect(mayEnd(seats, 6)).toBe(true)
  })
})
