import { codeNames } from '@millrace/base'
import { murmur3Words } from '@millrace/rules'

const codes = codeNames.length
const seed = 0x74656e61
/** Names longer than this are counted with the others. */
const nameBytesMax = 256

/** Where a request is counted that names no tenant, and one whose tenant has no place of its own. */
export const noTenant = 0
export const otherTenants = 'other'
const others = 1

/**
 * Answers by tenant and code. The first `max` tenants that a lane meets have a place of their own, those that come after
 * them one together: whoever makes names up makes no metrics. Finding a tenant allocates nothing, but for a new one.
 */
export class TenantCounts {
  /** By tenant and code. */
  readonly counts: Float64Array
  /** By tenant. */
  readonly names: string[] = ['', otherTenants]
  private readonly hashes: Uint32Array
  private readonly texts: Uint8Array[] = [new Uint8Array(0), new Uint8Array(0)]
  /** Tenants by hash, open addressing, at most half full; 0 is empty. */
  private readonly slots: Int32Array

  constructor(private readonly max: number) {
    this.counts = new Float64Array((max + 2) * codes)
    this.hashes = new Uint32Array(max + 2)
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * max + 2)))
  }

  /** The tenant whose name is `length` bytes at `begin`, a multiple of 4, of a message. */
  of(words: Uint32Array, begin: number, length: number): number {
    if (length === 0) return noTenant
    if (length > nameBytesMax) return others
    const { slots, hashes } = this
    const mask = slots.length - 1
    const hash = murmur3Words(words, begin, length, seed)
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const tenant = slots[slot]!
      if (tenant === 0) return this.add(slot, hash, words, begin, length)
      if (hashes[tenant] === hash && this.isNamed(tenant, words, begin, length)) return tenant
    }
  }

  private add(slot: number, hash: number, words: Uint32Array, begin: number, length: number): number {
    const tenant = this.names.length
    if (tenant === this.max + 2) return others
    const text = Buffer.from(words.buffer as ArrayBuffer, words.byteOffset + begin, length)
    this.names.push(text.toString('utf8'))
    this.texts.push(new Uint8Array(text))
    this.hashes[tenant] = hash
    this.slots[slot] = tenant
    return tenant
  }

  private isNamed(tenant: number, words: Uint32Array, begin: number, length: number): boolean {
    const text = this.texts[tenant]!
    if (text.length !== length) return false
    for (let b = 0; b < length; b++)
      if (((words[(begin + b) >>> 2]! >>> (8 * ((begin + b) & 3))) & 0xff) !== text[b]) return false
    return true
  }
}

/** The tenants that a server's metrics name, whichever lane met them: the first `max`; once one of the others, always. */
export class TenantNames {
  private readonly named = new Set<string>()

  constructor(private readonly max: number) {}

  of(tenant: string): string {
    if (tenant === '' || tenant === otherTenants || this.named.has(tenant)) return tenant
    if (this.named.size === this.max) return otherTenants
    this.named.add(tenant)
    return tenant
  }
}
