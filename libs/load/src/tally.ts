import { Code, codeNames } from '@millrace/base'
import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js'

/** What was answered, as plain data: it crosses processes and is added up. */
export interface Counted {
  /** By the name of the code, those that came. */
  readonly codes: Readonly<Record<string, number>>
  /** Of replies that were good, microseconds; an HdrHistogram, compressed, in base64. */
  readonly histogram: string
}

export interface LatencyUs {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
  readonly mean: number
}

/** A minute, and three digits of it. */
const settings = {
  lowestDiscernibleValue: 1,
  highestTrackableValue: 60_000_000,
  numberOfSignificantValueDigits: 3,
} as const

/** Counts replies by their code, and the times of those that were good. */
export class Tally {
  private readonly codes = new Float64Array(codeNames.length)
  private readonly histogram: Histogram = build(settings)

  good(us: number, count: number): void {
    this.codes[Code.OK]! += count
    this.histogram.recordValueWithCount(Math.min(settings.highestTrackableValue, Math.max(1, Math.round(us))), count)
  }

  bad(code: number): void {
    this.codes[code < codeNames.length ? code : Code.UNKNOWN]!++
  }

  get replies(): number {
    return this.codes.reduce((sum, count) => sum + count, 0)
  }

  reset(): void {
    this.codes.fill(0)
    this.histogram.reset()
  }

  counted(): Counted {
    const codes = Object.fromEntries(
      codeNames.map((name, code) => [name, this.codes[code]!] as const).filter(([, n]) => n > 0),
    )
    return { codes, histogram: encodeIntoCompressedBase64(this.histogram) }
  }
}

/** What several processes counted. */
export function addCounted(all: readonly Counted[]): Counted {
  const codes: Record<string, number> = {}
  for (const one of all) for (const [code, count] of Object.entries(one.codes)) codes[code] = (codes[code] ?? 0) + count
  const sum = build(settings)
  for (const { histogram } of all) sum.add(decodeFromCompressedBase64(histogram))
  return { codes, histogram: encodeIntoCompressedBase64(sum) }
}

export function latencyOf({ histogram }: Counted): LatencyUs {
  const read = decodeFromCompressedBase64(histogram)
  const at = (percentile: number): number => read.getValueAtPercentile(percentile)
  return { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: read.maxValue, mean: read.mean }
}

/** The curve of percentiles, for a plot: more points where it rises. */
export function percentileCurve({ histogram }: Counted): { percentile: number; us: number }[] {
  const read = decodeFromCompressedBase64(histogram)
  const points: number[] = []
  for (let left = 100; left > 0.001; left *= 0.75) points.push(100 - left)
  return points.map((percentile) => ({ percentile, us: read.getValueAtPercentile(percentile) }))
}

/** An expected no of a server that has too much to do: counted apart from errors. */
const refusals: readonly string[] = ['RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED', 'UNAVAILABLE']

export function sortsOf({ codes }: Counted): { good: number; refused: number; errors: number } {
  const sorts = { good: 0, refused: 0, errors: 0 }
  for (const [code, count] of Object.entries(codes))
    sorts[code === 'OK' ? 'good' : refusals.includes(code) ? 'refused' : 'errors'] += count
  return sorts
}
