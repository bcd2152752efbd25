import { performance } from 'node:perf_hooks'

/** Microseconds on a clock that never goes back; comparable within one thread only. */
export function nowUs(): number {
  return performance.now() * 1000
}
