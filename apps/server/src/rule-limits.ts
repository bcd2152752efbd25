import type { Limit } from '@millrace/rules'
import { grown, type TenantCounts } from './tenant-counts'
import { TokenBuckets } from './token-bucket'

/** Of all tenants together, and of each by itself; else a tenant's place. */
const all = -1
const each = -2

/** What a lane allows of a limit, and what is taken of it. */
export class RuleLimit {
  private rate: number | undefined
  private burst: number | undefined
  private buckets: TokenBuckets | null = null
  private inFlightMax = Infinity
  /** By tenant where each has its own; else the first. */
  private inFlight = new Int32Array(1)
  private readonly tenant: number

  constructor(
    public limit: Limit,
    tenants: TenantCounts,
    private readonly lanes: number,
  ) {
    const { tenant } = limit
    this.tenant = tenant === undefined ? all : tenant === '*' ? each : tenants.reserve(tenant)
    this.set(limit)
  }

  /** Takes up other numbers for the same requests. A rate that is another begins with a full bucket. */
  set(limit: Limit): void {
    this.limit = limit
    const { requests_per_second: rate, burst, requests_in_flight: inFlight } = limit
    this.inFlightMax = inFlight === undefined ? Infinity : Math.ceil(inFlight / this.lanes)
    if (rate === this.rate && burst === this.burst) return
    this.rate = rate
    this.burst = burst
    this.buckets = rate === undefined ? null : new TokenBuckets(rate / this.lanes, (burst ?? rate) / this.lanes)
  }

  /** Why a request of a tenant is refused; null when it is not. */
  refuses(tenant: number, nowUs: number): string | null {
    if (this.tenant >= 0 && this.tenant !== tenant) return null
    const i = this.tenant === each ? tenant : 0
    if ((this.inFlight[i] ?? 0) >= this.inFlightMax)
      return this.tell(`${this.limit.requests_in_flight!} requests_in_flight`, this.inFlightMax)
    if (this.buckets === null || this.buckets.has(i, nowUs)) return null
    return this.tell(`${this.rate!} requests_per_second`, this.rate! / this.lanes)
  }

  /** A request came that no limit refuses. */
  came(tenant: number, nowUs: number): void {
    if (this.buckets !== null && this.isFor(tenant)) this.buckets.take(this.tenant === each ? tenant : 0, nowUs)
  }

  /** A request was accepted, or answered: `by` 1 or -1. */
  hold(tenant: number, by: number): void {
    if (!this.isFor(tenant)) return
    const i = this.tenant === each ? tenant : 0
    if (i >= this.inFlight.length) this.inFlight = grown(this.inFlight, 2 * i)
    this.inFlight[i]! += by
  }

  private isFor(tenant: number): boolean {
    return this.tenant < 0 || this.tenant === tenant
  }

  private tell(what: string, here: number): string {
    const { id, tenant } = this.limit
    const whose = tenant === undefined ? '' : tenant === '*' ? ' of one tenant' : ` of ${tenant}`
    const lane = this.lanes === 1 ? '' : `, ${Number(here.toPrecision(3))} on each of ${this.lanes} lanes`
    return `limit ${id} of the rules: ${what}${whose}${lane}; send it later`
  }
}
