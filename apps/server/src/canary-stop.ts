import type { Canary } from '@millrace/rules'
import { quantileOf, type HistogramSnapshot } from './histogram'

/*
 * When a canary is taken off: numbers in, a verdict out. Nothing here reads a clock, asks a lane or changes rules.
 */

export type StopLimits = NonNullable<Canary['stop']>

/** What one rule answered for one objective, since ever; it never goes back. */
export interface Answered {
  readonly answers: number
  /** With a code of the server's fault. */
  readonly failed: number
  /** With a code of the request's fault. */
  readonly refused: number
  /** Microseconds; null where nobody asks for them. */
  readonly latency: HistogramSnapshot | null
}

/** A limit that was passed, with what passed it. */
export interface Verdict {
  readonly limit: 'error_rate_max' | 'refusal_rate_max' | 'p99_ratio_max'
  readonly figure: number
  readonly allowed: number
  /** For people: the limit, both figures and the window. */
  readonly why: string
}

/** Samples that a window is made of: it is this part of itself longer than was asked for, at most. */
const samplesMax = 60

interface Sample {
  readonly ms: number
  readonly canary: Answered
  readonly other: Answered
}

/** A canary's answers for one objective beside those of the objective's default, over a sliding window. */
export class StopWatch {
  /** Oldest first; the first is as old as the window, or the beginning. */
  private readonly samples: Sample[] = []

  constructor(private readonly limits: StopLimits) {}

  /** Takes what was counted until `nowMs`, of any clock that does not go back; a verdict when a limit is passed. */
  observe(nowMs: number, canary: Answered, other: Answered): Verdict | null {
    const { samples, limits } = this
    const windowMs = limits.window_s * 1000
    while (samples.length > 1 && samples[1]!.ms <= nowMs - windowMs) samples.shift()
    const last = samples.at(-1)
    if (last === undefined || nowMs - last.ms >= windowMs / samplesMax) samples.push({ ms: nowMs, canary, other })
    const [first] = samples
    return judge(limits, since(first!.canary, canary), since(first!.other, other))
  }
}

/** Whether answers of one window pass a limit. */
export function judge(limits: StopLimits, canary: Answered, other: Answered): Verdict | null {
  const { requests_min, window_s } = limits
  if (canary.answers < requests_min) return null
  return (
    shareOver('error_rate_max', 'failed', canary.failed) ??
    shareOver('refusal_rate_max', 'were refused', canary.refused) ??
    slower()
  )

  function shareOver(limit: 'error_rate_max' | 'refusal_rate_max', what: string, count: number): Verdict | null {
    const allowed = limits[limit]
    const figure = count / canary.answers
    if (allowed === undefined || figure <= allowed) return null
    const why = `${count} of ${canary.answers} answers ${what} in ${window_s} s, ${shown(figure)} of them: more than ${limit} ${allowed}`
    return { limit, figure, allowed, why }
  }

  function slower(): Verdict | null {
    const allowed = limits.p99_ratio_max
    // As few answers say nothing of the default either.
    if (allowed === undefined || other.answers < requests_min) return null
    const [own, others] = [quantileOf(canary.latency, 0.99), quantileOf(other.latency, 0.99)]
    if (own === null || others === null || !(own > allowed * others)) return null
    const figure = own / others
    const why = `its p99 of ${ms(own)} is ${shown(figure)} times the ${ms(others)} of the default in ${window_s} s: more than p99_ratio_max ${allowed}`
    return { limit: 'p99_ratio_max', figure, allowed, why }
  }
}

/** What came after `before`. A lane that ends while its counts are on their way may have them missing for a moment. */
function since(before: Answered, now: Answered): Answered {
  return {
    answers: Math.max(0, now.answers - before.answers),
    failed: Math.max(0, now.failed - before.failed),
    refused: Math.max(0, now.refused - before.refused),
    latency: now.latency === null ? null : latencySince(before.latency, now.latency),
  }
}

function latencySince(before: HistogramSnapshot | null, now: HistogramSnapshot): HistogramSnapshot {
  if (before === null) return now
  const counts = now.counts.map((n, i) => Math.max(0, n - before.counts[i]!))
  return { ...now, counts, count: counts.reduce((sum, n) => sum + n, 0), sum: now.sum - before.sum }
}

function shown(figure: number): string {
  return String(Number(figure.toPrecision(3)))
}

function ms(us: number): string {
  return `${shown(us / 1000)} ms`
}
