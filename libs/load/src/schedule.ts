import { seededRandom } from '@millrace/base'

/** When requests arrive, whatever became of those before. */
export type Arrivals =
  /** Independent users: gaps of an exponential distribution. */
  | { readonly kind: 'poisson'; readonly perSecond: number }
  /** Evenly. */
  | { readonly kind: 'even'; readonly perSecond: number }
  /** As they were recorded, `speed` times as fast, again from the begin when they are at the end. */
  | { readonly kind: 'recorded'; readonly speed: number }

/**
 * The time of the next arrival, milliseconds since the begin.
 *
 * @param part of `parts` processes which share the arrivals
 */
export function scheduleOf(
  arrivals: Arrivals,
  recordedUs: readonly number[],
  { part, parts, seed }: { readonly part: number; readonly parts: number; readonly seed: number },
): () => number {
  if (arrivals.kind === 'recorded') {
    const begun = recordedUs[0] ?? 0
    // The gap before it begins again is the mean one.
    const round = (recordedUs.at(-1)! - begun) * (recordedUs.length / Math.max(1, recordedUs.length - 1))
    let n = part - parts
    return () => {
      n += parts
      const us = Math.floor(n / recordedUs.length) * round + recordedUs[n % recordedUs.length]! - begun
      return us / 1000 / arrivals.speed
    }
  }
  const gapMs = (1000 * parts) / arrivals.perSecond
  if (arrivals.kind === 'even') {
    let n = part / parts - 1
    return () => ++n * gapMs
  }
  const random = seededRandom(seed + part)
  let atMs = 0
  return () => (atMs -= Math.log(1 - random()) * gapMs)
}
