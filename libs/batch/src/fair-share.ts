/** Of tenants that asked no one knows any more after two of these. */
const epochUs = 1_000_000

/** How much of its part a tenant may hold at any time: requests do not come evenly. */
const partMost = 1.5

/**
 * Whether a tenant may hold `rows` more of what others ask for too. Nobody is refused his first request, nor what is about
 * his part; beyond that he may hold half of what is left, so that one who takes all that he gets leaves two thirds.
 *
 * The dynamic thresholds of shared buffers (Choudhury and Hahne 1998), with a part that is always there. A pure policy of
 * numbers.
 *
 * @param held by the tenant
 * @param total held by all
 * @param room that there is for all
 * @param active tenants that ask
 */
export function mayHold(rows: number, held: number, total: number, room: number, active: number): boolean {
  if (active <= 1 || held === 0) return true
  return held + rows <= Math.max((room - total) / 2, (partMost * room) / active)
}

/** Who holds how many rows of one queue: those that wait and those that run. A few integers a request. */
export class Shares {
  /** Held by all. */
  total = 0
  /** By tenant. */
  private held = new Int32Array(8)
  /** By tenant: the epoch in which it asked last. */
  private asked = new Int32Array(8).fill(-1)
  private epoch = -1
  /** Tenants that asked in this epoch, and in the one before. */
  private askedNow = 0
  private askedBefore = 0

  /** @param room rows that there is room for while several tenants ask */
  constructor(public room: number) {}

  /** Tenants that asked lately. */
  get active(): number {
    return Math.max(this.askedNow, this.askedBefore)
  }

  /** Whether a tenant that asks now may hold so many rows more. */
  ask(tenant: number, rows: number, nowUs: number): boolean {
    if (tenant >= this.held.length) this.grow(tenant)
    const epoch = Math.floor(nowUs / epochUs)
    if (epoch !== this.epoch) {
      this.askedBefore = epoch === this.epoch + 1 ? this.askedNow : 0
      this.askedNow = 0
      this.epoch = epoch
    }
    if (this.asked[tenant] !== epoch) {
      this.asked[tenant] = epoch
      this.askedNow++
    }
    return mayHold(rows, this.held[tenant]!, this.total, this.room, this.active)
  }

  take(tenant: number, rows: number): void {
    this.held[tenant]! += rows
    this.total += rows
  }

  give(tenant: number, rows: number): void {
    this.held[tenant]! -= rows
    this.total -= rows
  }

  of(tenant: number): number {
    return this.held[tenant] ?? 0
  }

  private grow(tenant: number): void {
    const held = new Int32Array(2 * tenant)
    held.set(this.held)
    const asked = new Int32Array(2 * tenant).fill(-1)
    asked.set(this.asked)
    this.held = held
    this.asked = asked
  }
}
