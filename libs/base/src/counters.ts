/**
 * A histogram as plain numbers: counts by upper bound, a sum and a count. Rooms own these; the metrics
 * page reads them when it is scraped, so that observing costs a few comparisons and no allocation.
 */
export class Buckets {
  /** `counts[i]` observations were <= `bounds[i]` and > `bounds[i - 1]`; the last entry is above all bounds. */
  readonly counts: Float64Array
  sum = 0
  count = 0

  constructor(readonly bounds: readonly number[]) {
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number, times = 1): void {
    const bounds = this.bounds
    let lo = 0
    let hi = bounds.length
    while (lo < hi) {
      const middle = (lo + hi) >> 1
      if (value <= bounds[middle]!) hi = middle
      else lo = middle + 1
    }
    this.counts[lo]! += times
    this.sum += value * times
    this.count += times
  }
}

/** 50 us to 10 s, in microseconds: the latencies a request can have. */
export const latencyBoundsUs: readonly number[] = [
  50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
  10_000_000,
]

/** Rows of a batch. */
export const rowBounds: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
