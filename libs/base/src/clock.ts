import { performance } from 'node:perf_hooks'

/** `performance.now()` begins with its thread; this is when that was, on the clock of the machine, microseconds. */
const originUs = machineUs() - performance.now() * 1000

/** Microseconds on a clock that never goes back; comparable between the threads of a machine. */
export function nowUs(): number {
  return originUs + performance.now() * 1000
}

function machineUs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + nanoseconds / 1e3
}

/**
 * The one way by which time enters the road and what surrounds it: when it is, and what happens later. A simulation
 * hands in one of its own, so that a seed decides what happens when.
 */
export interface Clock {
  /** Microseconds; never goes back, comparable between the threads of a machine. */
  nowUs(): number
  /** Milliseconds since 1970, as the machine has them. */
  nowMs(): number
  /** Runs `work` in `ms` milliseconds, unless what this returns is called before. */
  after(ms: number, work: () => void): () => void
  /** Runs `work` every `ms` milliseconds until what this returns is called; keeps no process alive. */
  every(ms: number, work: () => void): () => void
  /** Runs `work` when this turn of the event loop has brought all that it brings. */
  defer(work: () => void): void
}

export const systemClock: Clock = {
  nowUs,
  nowMs: () => Date.now(),
  after: (ms, work) => {
    const timer = setTimeout(work, ms)
    return () => clearTimeout(timer)
  },
  every: (ms, work) => {
    const timer = setInterval(work, ms).unref()
    return () => clearInterval(timer)
  },
  defer: (work) => void setImmediate(work),
}
