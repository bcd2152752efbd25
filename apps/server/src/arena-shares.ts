import type { Arena } from '@millrace/base'
import type { Party } from './principal'
import { heldArena } from './refusals'
import { grown, noTenant } from './tenant-counts'

/** What a tenant may hold, as a multiple of what is left: one of its connections does not take all of it. */
const tenantMost = 2

/**
 * Who holds how much of the arena. A connection may hold as much as is left, and a tenant that proved who it is twice that:
 * one connection that floods leaves a half, two leave a third, a tenant with any number leaves a third. Whoever holds
 * nothing is not refused for it, and nobody is while half of it is free.
 *
 * The dynamic thresholds of shared buffers (Choudhury and Hahne 1998).
 */
export class ArenaShares {
  private readonly halfBytes: number
  /** By tenant. */
  private held = new Float64Array(8)

  /** @param giveWay gives up what only copies hold; false when that is nothing */
  constructor(
    private readonly arena: Arena,
    private readonly giveWay: () => boolean,
  ) {
    this.halfBytes = arena.totalBytes / 2
  }

  /** Why so many bytes more are refused; null when they are not. */
  refuses(party: Party, holder: number, bytes: number): string | null {
    if (this.arena.usedBytes <= this.halfBytes) return null
    const why = this.refusesNow(party, holder, bytes)
    return why === null || !this.giveWay() ? why : this.refusesNow(party, holder, bytes)
  }

  take(party: Party, holder: number, bytes: number): void {
    party.arenaBytes += bytes
    if (holder >= this.held.length) this.held = grown(this.held, 2 * holder)
    this.held[holder]! += bytes
  }

  give(party: Party, holder: number, bytes: number): void {
    party.arenaBytes -= bytes
    this.held[holder]! -= bytes
  }

  private refusesNow({ arenaBytes }: Party, holder: number, bytes: number): string | null {
    const left = this.arena.totalBytes - this.arena.usedBytes
    if (arenaBytes > 0 && arenaBytes + bytes > left) return heldArena('connection')
    const held = holder === noTenant ? 0 : (this.held[holder] ?? 0)
    return held > 0 && held + bytes > tenantMost * left ? heldArena('tenant') : null
  }
}
