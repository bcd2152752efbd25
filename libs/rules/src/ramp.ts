import { bucketsOf, percentAt } from './allocate'
import type { Canary } from './rules'
import type { Table } from './table'

/** A canary's range of buckets in the program. */
export interface Ramp {
  /** Where its first bucket lies; the last is the word after. */
  readonly at: number
  readonly canary: Canary
}

/** First and last bucket from one percent to another; 1 to 0, which nothing is in, when there is none. */
export function bucketRange(from: number, to: number): [first: number, last: number] {
  const [first, end] = [bucketsOf(from), bucketsOf(to)]
  return end > first ? [first, end - 1] : [1, 0]
}

/**
 * Sets each canary of the table to the percent that it has at `nowMs`; every holder of a table does so by its own clock.
 *
 * @returns when the next one changes, ms since 1970; Infinity when none will
 */
export function advance({ ramps, program }: Table, nowMs: number): number {
  let next = Infinity
  for (const { at, canary } of ramps) {
    const [first, last] = bucketRange(0, percentAt(canary, nowMs))
    program[at] = first
    program[at + 1] = last
    for (const step of canary.ramp ?? []) {
      const ms = Date.parse(step.at)
      if (ms > nowMs) next = Math.min(next, ms)
    }
  }
  return next
}
