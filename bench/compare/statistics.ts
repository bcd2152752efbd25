/** How a thing compares with another that was measured beside it, round by round. */
export interface Ratio {
  readonly ratio: number
  /** 95 % confidence. */
  readonly low: number
  readonly high: number
}

/**
 * The ratio of pairs of measurements with its confidence interval: Student's t on the logarithms of the pairs' own ratios, so
 * that what a round's machine was like, which both of a pair had, is no noise.
 *
 * Sources: Student, The probable error of a mean, Biometrika 1908; for benchmarks of few repeated runs on noisy machines
 * Georges, Buytaert, Eeckhout, Statistically rigorous Java performance evaluation, OOPSLA 2007, 3.
 *
 * @param pairs the new one first; two at least, all above 0
 */
export function ratioOf(pairs: readonly (readonly [current: number, baseline: number])[]): Ratio {
  const logs = pairs.map(([current, baseline]) => Math.log(current / baseline))
  const n = logs.length
  const mean = logs.reduce((sum, log) => sum + log, 0) / n
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (n - 1)
  const margin = t975(n - 1) * Math.sqrt(variance / n)
  return { ratio: Math.exp(mean), low: Math.exp(mean - margin), high: Math.exp(mean + margin) }
}

// prettier-ignore
const quantiles = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
  2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
]

/** The 97.5 % quantile of Student's t; above 30 degrees of freedom a little more than it is. */
function t975(degrees: number): number {
  return quantiles[degrees - 1] ?? 1.96 + 2.5 / degrees
}
