import { codeNames } from '@millrace/base'
import { murmur3Words } from '@millrace/rules'
import { standIn } from '@millrace/wire'

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
 * them one together: whoever makes names up makes no metrics. Those that an operator wrote down have a place whenever they
 * come. Finding a tenant allocates nothing, but for a new one.
 */
export class TenantCounts {
  /** By tenant and code. */
  counts: Float64Array
  /** By tenant. */
  readonly names: string[] = ['', otherTenants]
  /** By tenant: 1 where it has to prove who it is. */
  private proven: Uint8Array
  private hashes: Uint32Array
  private readonly texts: Uint8Array[] = [new Uint8Array(0), new Uint8Array(0)]
  /** Tenants by hash, open addressing, at most half full; 0 is empty. */
  private slots: Int32Array
  /** Tenants that were met, not written down. */
  private met = 0

  constructor(private readonly max: number) {
    this.counts = new Float64Array((max + 2) * codes)
    this.hashes = new Uint32Array(max + 2)
    this.proven = new Uint8Array(max + 2)
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * max + 2)))
  }

  /** Places that there are now. */
  get size(): number {
    return this.hashes.length
  }

  /** The tenant whose name is `length` bytes at `begin`, a multiple of 4, of a message. */
  of(words: Uint32Array, begin: number, length: number): number {
    if (length === 0) return noTenant
    const known = this.find(words, begin, length)
    if (known >= 0) return known
    if (length > nameBytesMax || this.met === this.max) return others
    this.met++
    return this.add(words, begin, length)
  }

  /** The place of a tenant that an operator wrote down: in the file of tenants, or in a limit of the rules. */
  reserve(name: string): number {
    const { textWords, textLength } = standIn(name)
    const known = this.find(textWords, 0, textLength)
    return known >= 0 ? known : this.add(textWords, 0, textLength)
  }

  /** These tenants, and no others, have to prove who they are. */
  prove(names: readonly string[]): void {
    const places = names.map((name) => this.reserve(name))
    this.proven.fill(0)
    for (const place of places) this.proven[place] = 1
  }

  isProven(words: Uint32Array, begin: number, length: number): boolean {
    const tenant = this.find(words, begin, length)
    return tenant >= 0 && this.proven[tenant] === 1
  }

  /** -1: it has no place. */
  private find(words: Uint32Array, begin: number, length: number): number {
    const { slots, hashes } = this
    const mask = slots.length - 1
    const hash = murmur3Words(words, begin, length, seed)
    for (let slot = hash & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const tenant = slots[slot]!
      if (hashes[tenant] === hash && this.isNamed(tenant, words, begin, length)) return tenant
    }
    return -1
  }

  private add(words: Uint32Array, begin: number, length: number): number {
    const tenant = this.names.length
    if (tenant === this.hashes.length) this.grow()
    const text = Buffer.from(words.buffer as ArrayBuffer, words.byteOffset + begin, length)
    this.names.push(text.toString('utf8'))
    this.texts.push(new Uint8Array(text))
    this.hashes[tenant] = murmur3Words(words, begin, length, seed)
    this.enter(tenant)
    return tenant
  }

  private enter(tenant: number): void {
    const { slots } = this
    const mask = slots.length - 1
    let slot = this.hashes[tenant]! & mask
    while (slots[slot] !== 0) slot = (slot + 1) & mask
    slots[slot] = tenant
  }

  private grow(): void {
    const size = 2 * this.hashes.length
    this.counts = grown(this.counts, size * codes)
    this.hashes = grown(this.hashes, size)
    this.proven = grown(this.proven, size)
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * size)))
    for (let tenant = others + 1; tenant < this.names.length; tenant++) this.enter(tenant)
  }

  private isNamed(tenant: number, words: Uint32Array, begin: number, length: number): boolean {
    const text = this.texts[tenant]!
    if (text.length !== length) return false
    for (let b = 0; b < length; b++)
      if (((words[(begin + b) >>> 2]! >>> (8 * ((begin + b) & 3))) & 0xff) !== text[b]) return false
    return true
  }
}

/** A longer copy, filled with zeros. */
export function grown<T extends Uint8Array | Int32Array | Uint32Array | Float64Array>(old: T, length: number): T {
  const longer = new (old.constructor as new (length: number) => T)(length)
  longer.set(old as never)
  return longer
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
