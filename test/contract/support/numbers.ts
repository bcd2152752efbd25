/** The largest difference of two rows of numbers; NaN and a different length are infinitely far. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity
  let largest = 0
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!)
    if (Number.isNaN(d)) return Infinity
    largest = Math.max(largest, d)
  }
  return largest
}
