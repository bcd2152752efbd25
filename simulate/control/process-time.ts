import type { SimulatedClock } from '../clock'

/*
 * The control plane takes its time from the process: while one is simulated, the process's timers and clocks are those of
 * the simulation.
 */

/** What there really is. */
const real = { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, dateNow: Date.now }

interface Timer {
  readonly cancel: () => void
  unref(): Timer
}

function timerOf(cancel: () => void): Timer {
  const timer: Timer = { cancel, unref: () => timer }
  return timer
}

/** Has the process go by the clock; returns what undoes it. */
export function takeTime(clock: SimulatedClock): () => void {
  const clear = (timer: Timer | undefined): void => timer?.cancel()
  Object.assign(globalThis, {
    setTimeout: (work: () => void, ms = 0) => timerOf(clock.after(Math.max(1, ms), work)),
    setInterval: (work: () => void, ms: number) => timerOf(clock.every(ms, work)),
    setImmediate: (work: () => void) => clock.defer(work),
    clearTimeout: clear,
    clearInterval: clear,
  })
  Date.now = () => clock.nowMs()
  performance.now = () => clock.nowUs() / 1000
  return () => {
    const { dateNow, ...timers } = real
    Object.assign(globalThis, timers)
    Date.now = dateNow
    delete (performance as { now?: unknown }).now
  }
}

/** Resolves when nothing is left to do before the next event. */
export function settled(): Promise<void> {
  return new Promise((resolve) => void real.setImmediate(resolve))
}
