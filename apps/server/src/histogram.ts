import type { Buckets } from '@millrace/base'

/** A histogram as plain data: `counts` has one entry more than `bounds` (above all bounds). */
export interface HistogramSnapshot {
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
  readonly sum: number
  readonly count: number
}

export function histogramOf({ bounds, counts, sum, count }: Buckets): HistogramSnapshot {
  return { bounds, counts: Array.from(counts), sum, count }
}

export function addHistograms(a: HistogramSnapshot, b: HistogramSnapshot): HistogramSnapshot {
  return {
    bounds: a.bounds,
    counts: a.counts.map((count, i) => count + b.counts[i]!),
    sum: a.sum + b.sum,
    count: a.count + b.count,
  }
}

/** What a share `quantile` of the observations is below, between the bounds of its bucket; null when there are none. */
export function quantileOf(histogram: HistogramSnapshot | null, quantile: number): number | null {
  if (histogram === null || histogram.count === 0) return null
  const { bounds, counts, count } = histogram
  let left = quantile * count
  for (const [i, n] of counts.entries()) {
    if (n > 0 && left <= n) {
      const from = i === 0 ? 0 : bounds[i - 1]!
      return from + ((bounds[i] ?? from) - from) * (left / n)
    }
    left -= n
  }
  return bounds.at(-1)!
}
