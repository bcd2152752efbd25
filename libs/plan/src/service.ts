import type { ServicePoint } from './profile'

const { log, min } = Math

/** How long a thread takes for a batch. */
export interface Service {
  /** Microseconds for `rows` rows, on average. */
  mean(rows: number): number
  /** Microseconds that the share `u` (0 to 1) of such batches takes at most. */
  sample(rows: number, u: number): number
}

/** Always the same for as many rows. */
export function fixedService(us: (rows: number) => number): Service {
  return { mean: us, sample: us }
}

/** Exponentially distributed, whatever the rows. */
export function exponentialService(meanUs: number): Service {
  return { mean: () => meanUs, sample: (_, u) => -log(1 - u) * meanUs }
}

/** The shares at which a measured curve knows its times. */
const shares = [0, 0.5, 0.9, 0.99, 0.999, 1] as const
const width = shares.length

/**
 * As measured: straight between the percentiles of a point and between points, beyond the last as between the last two.
 * A point's percentiles are multiplied so that what is drawn from them has the mean that was measured.
 *
 * @param speed of the machine, over that of the one that was measured
 */
export function measuredService(points: readonly ServicePoint[], rowsMax: number, speed = 1): Service {
  const measured = points.map(({ rows, mean_us, min_us, p50_us, p90_us, p99_us, p999_us }) => {
    const quantiles = [min_us, p50_us, p90_us, p99_us, p999_us, p999_us]
    const drawn = meanOf(quantiles)
    return { rows, quantiles: quantiles.map((us) => (drawn === 0 ? mean_us : (us * mean_us) / drawn) / speed) }
  })
  // By rows, so that a draw is a look-up.
  const table = new Float64Array((rowsMax + 1) * width)
  const means = new Float64Array(rowsMax + 1)
  for (let rows = 0; rows <= rowsMax; rows++) {
    const after = measured.findIndex((point) => point.rows >= rows)
    const to = Math.max(after < 0 ? measured.length - 1 : after, Math.min(1, measured.length - 1))
    const [a, b] = [measured[Math.max(0, to - 1)]!, measured[to]!]
    const part = a === b ? 0 : (rows - a.rows) / (b.rows - a.rows)
    const quantiles = a.quantiles.map((us, i) => Math.max(0, us + part * (b.quantiles[i]! - us)))
    // Extrapolated, a tail may fall below what is less.
    for (let i = 1; i < width; i++) quantiles[i] = Math.max(quantiles[i]!, quantiles[i - 1]!)
    table.set(quantiles, rows * width)
    means[rows] = meanOf(quantiles)
  }
  return {
    mean: (rows) => means[min(rows, rowsMax)]!,
    sample: (rows, u) => {
      const begin = min(rows, rowsMax) * width
      let i = 0
      while (i < width - 2 && u >= shares[i + 1]!) i++
      const from = table[begin + i]!
      return from + ((u - shares[i]!) / (shares[i + 1]! - shares[i]!)) * (table[begin + i + 1]! - from)
    },
  }
}

function meanOf(quantiles: readonly number[]): number {
  let sum = 0
  for (let i = 1; i < width; i++) sum += (shares[i]! - shares[i - 1]!) * (quantiles[i]! + quantiles[i - 1]!)
  return sum / 2
}
