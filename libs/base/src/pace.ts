import { performance } from 'node:perf_hooks'

export interface PaceOptions {
  /**
   * Longest sleep of the thread between two looks at the clock, milliseconds; 0 looks without a pause. It costs a CPU
   * that nobody else needs, or whatever arrives meanwhile is read that much later. 0 unless said.
   */
  readonly napMs?: number
}

export interface Pace {
  /** Resolves when the schedule is at its end, or was stopped. */
  readonly done: Promise<void>
  stop(): void
}

/** Timers are up to this late, milliseconds: the last part of a wait is looked through. */
const timerLateMs = 1.5
/** Arrivals that one turn of the event loop handles at most, so that what comes back is read in between. */
const arrivalsMax = 1000

/**
 * Calls `arrive` at the times of a schedule, whatever became of those before: what an open loop of load needs. When it is
 * late it catches up, and hands on the time that was due, so that whoever measures from there sees every stall.
 *
 * @param next the time of the next arrival, milliseconds since the begin, ascending; Infinity: there is none
 * @param arrive told when it was due, on the clock of `performance.now()`
 */
export function pace(next: () => number, arrive: (dueMs: number) => void, { napMs = 0 }: PaceOptions = {}): Pace {
  const nap = new Int32Array(new SharedArrayBuffer(4))
  const begunMs = performance.now()
  let dueMs = begunMs + next()
  let stopped = false
  let end = (): void => undefined
  const done = new Promise<void>((resolve) => (end = resolve))
  const look = (): void => {
    if (stopped) return end()
    let nowMs = performance.now()
    for (let n = 0; dueMs <= nowMs && n < arrivalsMax; n++) {
      arrive(dueMs)
      dueMs = stopped ? Infinity : begunMs + next()
      if (n % 16 === 15) nowMs = performance.now()
    }
    if (dueMs === Infinity) return end()
    const waitMs = dueMs - performance.now()
    if (waitMs > timerLateMs) {
      setTimeout(look, waitMs - timerLateMs)
      return
    }
    if (napMs > 0 && waitMs > 0) Atomics.wait(nap, 0, 0, Math.min(waitMs, napMs))
    setImmediate(look)
  }
  setImmediate(look)
  return {
    done,
    stop: () => {
      stopped = true
    },
  }
}
