import type { RunCost } from './run-cost'

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

/** How busy a device is whose answers nobody finds slow, as part of what it can do. */
const calm = 0.9

/** What is answered late there waited for so many of its runs, and behind so many requests. */
const calmRuns = 3
const calmRequests = 20

/**
 * Rows that there is room for while several tenants ask: as many as wait and run where a device is busy and nobody asks
 * for more than it can do. So one who does makes the others wait hardly longer than they did before he came.
 *
 * A run of such a device takes what it costs whatever its rows, and the rows that came during the run before.
 *
 * @param rowsMax of a run
 * @param requestRows of a request, on average
 * @param waitUsMax that they may take to be served, where three runs do not take longer
 */
export function calmRows(
  { fixedUs, rowUs }: Pick<RunCost, 'fixedUs' | 'rowUs'>,
  threads: number,
  rowsMax: number,
  requestRows: number,
  waitUsMax: number,
): number {
  const fullRowUs = fixedUs / rowsMax + rowUs
  if (fullRowUs === 0) return Infinity
  const runUs = fixedUs / (1 - (calm * rowUs) / fullRowUs)
  const waitUs = calmRuns * runUs + calmRequests * requestRows * fullRowUs
  return Math.ceil((threads * Math.max(Math.min(waitUs, waitUsMax), calmRuns * fixedUs)) / fullRowUs)
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
