/** What a request costs is looked at so often until it has stopped falling. */
export const windowMs = 100

/** Windows that are compared: of fewer one may be as cheap as the next by chance, half way to code that is compiled. */
const span = 10

/**
 * Whether what a request costs has stopped falling, by its costs in windows of equal length: code that is compiled while it
 * runs gets cheaper and then does not. The later half is not cheaper by a twentieth than the half before it.
 */
export function isWarm(costs: readonly number[]): boolean {
  const known = costs.filter((cost) => Number.isFinite(cost))
  if (known.length < 2 * span) return false
  const [before, after] = [known.slice(-2 * span, -span), known.slice(-span)]
  return median(after) >= 0.95 * median(before)
}

function median(costs: readonly number[]): number {
  return [...costs].sort((a, b) => a - b)[costs.length >> 1]!
}
