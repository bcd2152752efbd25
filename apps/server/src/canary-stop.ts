import type { Canary } from '@millrace/rules'
import { quantileOf, type HistogramSnapshot } from './histogram'
import type { OutputSnapshot } from './shadow/snapshot'

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

/** How a canary's answers differ from what the default said to copies of the same requests, since ever. */
export interface Differed {
  /** The shadow that copied them. */
  readonly shadow: string
  /** Requests that both answered. */
  readonly requests: number
  readonly outputs: Readonly<Record<string, OutputDiffered>>
}
type OutputDiffered = Pick<OutputSnapshot, 'values' | 'beyond' | 'infinite' | 'sum'>

/** A limit that was passed, with what passed it. */
export interface Verdict {
  readonly limit: Exclude<keyof StopLimits, 'requests_min' | 'window_s'>
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
  readonly differed: readonly Differed[]
}

/** A canary's answers for one objective beside those of the objective's default, over a sliding window. */
export class StopWatch {
  /** Oldest first; the first is as old as the window, or the beginning. */
  private readonly samples: Sample[] = []

  constructor(private readonly limits: StopLimits) {}

  /**
   * Takes what was counted until `nowMs`, of any clock that does not go back; a verdict when a limit is passed.
   *
   * @param differed of each shadow that compares the two
   */
  observe(nowMs: number, canary: Answered, other: Answered, differed: readonly Differed[] = []): Verdict | null {
    const { samples, limits } = this
    const windowMs = limits.window_s * 1000
    while (samples.length > 1 && samples[1]!.ms <= nowMs - windowMs) samples.shift()
    const last = samples.at(-1)
    if (last === undefined || nowMs - last.ms >= windowMs / samplesMax)
      samples.push({ ms: nowMs, canary, other, differed })
    const first = samples[0]!
    return judge(
      limits,
      since(first.canary, canary),
      since(first.other, other),
      differed.map((now) => differedSince(first.differed, now)),
    )
  }
}

/** Whether answers of one window pass a limit. */
export function judge(
  limits: StopLimits,
  canary: Answered,
  other: Answered,
  differed: readonly Differed[] = [],
): Verdict | null {
  const { requests_min, window_s } = limits
  return (canary.answers < requests_min ? null : worse()) ?? judgeDifferences(limits, differed)

  function worse(): Verdict | null {
    return (
      shareOver('error_rate_max', 'failed', canary.failed) ??
      shareOver('refusal_rate_max', 'were refused', canary.refused) ??
      slower()
    )
  }

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

/** The first output of the first shadow that has compared enough and passes a limit. */
function judgeDifferences(limits: StopLimits, differed: readonly Differed[]): Verdict | null {
  const { requests_min, window_s } = limits
  for (const { shadow, requests, outputs } of differed) {
    if (requests < requests_min) continue
    const compared = `in ${requests} requests of ${window_s} s that shadow ${shadow} compared`
    for (const [name, output] of Object.entries(outputs)) {
      const verdict = meanOver(name, output, compared) ?? rateOver(name, output, compared)
      if (verdict !== null) return verdict
    }
  }
  return null

  function meanOver(name: string, { values, infinite, sum }: OutputDiffered, compared: string): Verdict | null {
    const allowed = limits.difference_max
    const figure = infinite > 0 ? Infinity : sum / values
    // There may be no value.
    if (allowed === undefined || !(figure > allowed)) return null
    const what =
      infinite > 0
        ? `${infinite} of ${values} values of ${name} are a finite number on one side only`
        : `values of ${name} differ from those of the default by ${shown(figure)} on average`
    const why = `${what} ${compared}: more than difference_max ${allowed}`
    return { limit: 'difference_max', figure, allowed, why }
  }

  function rateOver(name: string, { values, beyond }: OutputDiffered, compared: string): Verdict | null {
    const allowed = limits.difference_rate_max
    const figure = beyond / values
    if (allowed === undefined || !(figure > allowed)) return null
    const what = `${beyond} of ${values} values of ${name} differ from those of the default, ${shown(figure)} of them,`
    const why = `${what} ${compared}: more than difference_rate_max ${allowed}`
    return { limit: 'difference_rate_max', figure, allowed, why }
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

function differedSince(before: readonly Differed[], now: Differed): Differed {
  const first = before.find(({ shadow }) => shadow === now.shadow)
  const outputs = Object.entries(now.outputs).map(([name, output]): [string, OutputDiffered] => {
    const { values = 0, beyond = 0, infinite = 0, sum = 0 } = first?.outputs[name] ?? {}
    const own = {
      values: Math.max(0, output.values - values),
      beyond: Math.max(0, output.beyond - beyond),
      infinite: Math.max(0, output.infinite - infinite),
      sum: Math.max(0, output.sum - sum),
    }
    return [name, own]
  })
  const requests = Math.max(0, now.requests - (first?.requests ?? 0))
  return { shadow: now.shadow, requests, outputs: Object.fromEntries(outputs) }
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
