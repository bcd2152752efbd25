import type { Limit, Table } from '@millrace/rules'
import type { Config } from './config'
import type { Party } from './principal'
import { RuleLimit } from './rule-limits'
import type { TenantCounts } from './tenant-counts'

/**
 * Who may have how much: what one connection has in flight, and the limits of the rules by tenant and objective. Counts are
 * a lane's own, and so are its limits: a lane allows its part of what the rules say.
 */
export class Admission {
  /** By route: the limits that may be for a request; null where none is. */
  private byRoute: readonly (readonly RuleLimit[] | null)[] = []
  /** By what they are called and for. */
  private known = new Map<string, RuleLimit>()

  constructor(
    private readonly config: Config,
    private readonly tenants: TenantCounts,
  ) {}

  /** Takes up the limits of rules; what was taken of those that were there before stays taken. */
  map({ rules, routes }: Table): void {
    const before = this.known
    this.known = new Map()
    const limits = (rules.limits ?? []).map((limit): [Limit, RuleLimit] => {
      const key = JSON.stringify([limit.id, limit.tenant, limit.objectives])
      const counted = before.get(key) ?? new RuleLimit(limit, this.tenants, this.config.lanes)
      counted.set(limit)
      this.known.set(key, counted)
      return [limit, counted]
    })
    const byObjective = new Map<string, readonly RuleLimit[] | null>()
    for (const objective of Object.keys(rules.objectives)) {
      const own = limits.filter(([{ objectives }]) => objectives?.includes(objective) ?? true)
      byObjective.set(objective, own.length === 0 ? null : own.map(([, counted]) => counted))
    }
    this.byRoute = routes.map(({ objective }) => byObjective.get(objective)!)
  }

  /** The limits of a route; null: it has none. */
  limitsOf(route: number): readonly RuleLimit[] | null {
    return this.byRoute[route]!
  }

  /** Counts a request that came, unless there were too many: then it says why it is refused. */
  came(route: number, tenant: number, { inFlight }: Party, nowUs: number): string | null {
    const max = this.config.socketInFlightMax
    if (inFlight >= max)
      return `this connection has ${max} requests in flight already (MILLRACE_SOCKET_IN_FLIGHT_MAX); send it later`
    const limits = this.byRoute[route]!
    if (limits === null) return null
    for (const limit of limits) {
      const why = limit.refuses(tenant, nowUs)
      if (why !== null) return why
    }
    for (const limit of limits) limit.came(tenant, nowUs)
    return null
  }
}
