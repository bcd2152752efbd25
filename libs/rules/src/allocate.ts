import { fnv1a64, murmur3, type U64 } from '@millrace/base'

const encoder = new TextEncoder()

/** `objective_hash` on the wire: FNV-1a, 64 bit, of the name's UTF-8. */
export function objectiveHash(name: string): U64 {
  const bytes = encoder.encode(name)
  const out: U64 = { lo: 0, hi: 0 }
  fnv1a64(bytes, 0, bytes.length, out)
  return out
}

/** The seed that a salt gives. */
export function saltHash(salt: string): number {
  const bytes = encoder.encode(salt)
  return murmur3(bytes, 0, bytes.length, 0)
}

/** The bucket of a subject under a salt: uniform in 0 .. 2^32 - 1. */
export function bucketOf(salt: string, subject: string): number {
  const bytes = encoder.encode(subject)
  return murmur3(bytes, 0, bytes.length, saltHash(salt))
}

/** Buckets below this are the first `percent` of all: 0 to 2^32. A bucket that is in at 5 percent is in at 20. */
export function bucketsOf(percent: number): number {
  return Math.floor((percent / 100) * 2 ** 32)
}

/** Per cell the first bucket beyond it, 0 to 2^32; a cell that ends where the one before it ends is empty. */
export function thresholds(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  let sum = 0
  return weights.map((weight) => Math.floor(((sum += weight) / total) * 2 ** 32))
}

/** The cell of a subject, offline: what the table decides, from the rules' own words. */
export function allocate<C extends { weight: number }>(salt: string, subject: string, cells: readonly C[]): C {
  return cells[cellOf(bucketOf(salt, subject), cells)]!
}

/** The index of the cell that a bucket falls into. */
export function cellOf(bucket: number, cells: readonly { weight: number }[]): number {
  return thresholds(cells.map((cell) => cell.weight)).findIndex((end) => bucket < end)
}

/*
 * Salts of the decisions that one rule takes besides its main one: each needs buckets of its own, or the subjects
 * of a share would all be in its first cells.
 */
export const shareSalt = (salt: string): string => `${salt}/share`
export const groupSalt = (group: string): string => `group/${group}`

/** What a canary's percent is at a time, ms since 1970. */
export function percentAt(
  { percent, ramp }: { percent?: number | undefined; ramp?: readonly { at: string; percent: number }[] | undefined },
  nowMs: number,
): number {
  if (ramp === undefined) return percent ?? 0
  let now = 0
  for (const step of ramp) if (Date.parse(step.at) <= nowMs) now = step.percent
  return now
}
