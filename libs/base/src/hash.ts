/**
 * The two hashes that others reproduce. Both work on bytes in place, without allocating.
 */

/** Two halves of an unsigned 64-bit number. */
export interface U64 {
  lo: number
  hi: number
}

/**
 * FNV-1a, 64 bit, of `length` bytes at `begin` (offset basis cbf29ce484222325, prime 100000001b3), into `out`.
 * Source: Fowler, Noll, Vo; draft-eastlake-fnv. This is `objective_hash` on the wire.
 */
export function fnv1a64(bytes: Uint8Array, begin: number, length: number, out: U64): void {
  // Four 16-bit limbs, least significant first: products stay below 2^53.
  let a = 0x2325
  let b = 0x8422
  let c = 0x9ce4
  let d = 0xcbf2
  for (let i = begin; i < begin + length; i++) {
    a ^= bytes[i]!
    // times 0x00000100_000001b3: 0x1b3 in limb 0 and 0x100 in limb 2
    const p0 = a * 0x1b3
    const p1 = b * 0x1b3 + (p0 >>> 16)
    const p2 = c * 0x1b3 + a * 0x100 + (p1 >>> 16)
    const p3 = d * 0x1b3 + b * 0x100 + (p2 >>> 16)
    a = p0 & 0xffff
    b = p1 & 0xffff
    c = p2 & 0xffff
    d = p3 & 0xffff
  }
  out.lo = (a | (b << 16)) >>> 0
  out.hi = (c | (d << 16)) >>> 0
}

/**
 * MurmurHash3, x86, 32 bit, of `length` bytes at `begin`. Source: Austin Appleby, SMHasher (public domain).
 * Experiments allocate by `murmur3(subject, seed = murmur3(salt, 0))`.
 *
 * @returns an unsigned 32-bit integer
 */
export function murmur3(bytes: Uint8Array, begin: number, length: number, seed: number): number {
  let h = seed | 0
  const end = begin + (length & ~3)
  for (let i = begin; i < end; i += 4) {
    let k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    k = Math.imul(k, 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  let k = 0
  const tail = length & 3
  if (tail === 3) k ^= bytes[end + 2]! << 16
  if (tail >= 2) k ^= bytes[end + 1]! << 8
  if (tail >= 1) {
    k ^= bytes[end]!
    k = Math.imul(k, 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
  }
  h ^= length
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  h ^= h >>> 16
  return h >>> 0
}
