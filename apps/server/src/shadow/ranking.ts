/** Rows of a request whose order is compared; what comes after them is not. */
export const rankedRowsMax = 1024

const order = new Int32Array(rankedRowsMax)
const merged = new Int32Array(rankedRowsMax)
const taken = new Uint8Array(rankedRowsMax)

/**
 * How far two sides put the same rows in the same order: 1 the same, -1 the reverse, 0 neither. Kendall's tau-b, which
 * counts ties of either side, in n log n steps (Knight 1966). NaN where a side has one value for all rows.
 *
 * @param a, b numbers, no NaN among them
 * @param n at most `rankedRowsMax`
 */
export function kendallTau(a: Float64Array, b: Float64Array, n: number): number {
  for (let i = 0; i < n; i++) order[i] = i
  sort(a, b, n)
  const pairs = (n * (n - 1)) / 2
  const tiedA = tiedPairs(a, null, n)
  const tiedBoth = tiedPairs(a, b, n)
  // In order of `a`: each exchange that puts `b` in order is a pair that the sides see the other way round.
  const discordant = sort(b, null, n)
  const tiedB = tiedPairs(b, null, n)
  const concordant = pairs - tiedA - tiedB + tiedBoth - discordant
  return (concordant - discordant) / Math.sqrt((pairs - tiedA) * (pairs - tiedB))
}

/** Share of the `k` highest rows of one side that are among those of the other; of equals the first count. */
export function topOverlap(a: Float64Array, b: Float64Array, n: number, k: number): number {
  const size = Math.min(k, n)
  taken.fill(0, 0, n)
  highest(a, n, size)
  for (let i = 0; i < size; i++) taken[order[i]!] = 1
  highest(b, n, size)
  let both = 0
  for (let i = 0; i < size; i++) both += taken[order[i]!]!
  return both / size
}

/** Leaves the `size` highest in `order`, the highest first. */
function highest(values: Float64Array, n: number, size: number): void {
  for (let i = 0; i < n; i++) {
    if (i >= size && !(values[i]! > values[order[size - 1]!]!)) continue
    let at = Math.min(i, size - 1)
    for (; at > 0 && values[i]! > values[order[at - 1]!]!; at--) order[at] = order[at - 1]!
    order[at] = i
  }
}

/** Merge sort of `order`, bottom up, by `first` and then by `second`; returns the pairs that were in the other order. */
function sort(first: Float64Array, second: Float64Array | null, n: number): number {
  let exchanges = 0
  for (let width = 1; width < n; width *= 2) {
    for (let begin = 0; begin < n; begin += 2 * width) {
      const middle = Math.min(begin + width, n)
      const end = Math.min(begin + 2 * width, n)
      let left = begin
      let right = middle
      for (let at = begin; at < end; at++) {
        const fromLeft = right >= end || (left < middle && !isLess(order[right]!, order[left]!, first, second))
        if (!fromLeft) exchanges += middle - left
        merged[at] = order[fromLeft ? left++ : right++]!
      }
    }
    order.set(merged.subarray(0, n))
  }
  return exchanges
}

function isLess(i: number, j: number, first: Float64Array, second: Float64Array | null): boolean {
  return first[i]! < first[j]! || (second !== null && first[i] === first[j] && second[i]! < second[j]!)
}

/** Pairs with equal `first`, and equal `second` where there is one; `order` has equals beside each other. */
function tiedPairs(first: Float64Array, second: Float64Array | null, n: number): number {
  let pairs = 0
  for (let i = 1, run = 0; i < n; i++) {
    const [one, before] = [order[i]!, order[i - 1]!]
    const equal = first[one] === first[before] && (second === null || second[one] === second[before])
    run = equal ? run + 1 : 0
    pairs += run
  }
  return pairs
}
