import { fnv1a64, murmur3, type U64 } from '@millrace/base'

const encoder = new TextEncoder()

/** `objective_hash` on the wire: FNV-1a, 64 bit, of the name's UTF-8. */
export function objectiveHash(name: string): U64 {
  const bytes = encoder.encode(name)
  const out: U64 = { lo: 0, hi: 0 }
  fnv1a64(bytes, 0, bytes.length, out)
  return out
}

/** The seed that an experiment's salt gives. */
export function saltHash(salt: string): number {
  const bytes = encoder.encode(salt)
  return murmur3(bytes, 0, bytes.length, 0)
}

/** Per cell the first hash beyond it, 0 to 2^32; a cell that ends where the one before it ends is empty. */
export function thresholds(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  let sum = 0
  return weights.map((weight) => Math.floor(((sum += weight) / total) * 2 ** 32))
}

/** The cell of a subject, offline: what the table decides, from the rules' own words. */
export function allocate<C extends { weight: number }>(salt: string, subject: string, cells: readonly C[]): C {
  const bytes = encoder.encode(subject)
  const hash = murmur3(bytes, 0, bytes.length, saltHash(salt))
  const ends = thresholds(cells.map((cell) => cell.weight))
  return cells[ends.findIndex((end) => hash < end)]!
}
