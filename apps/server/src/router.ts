import { Code, type Clock } from '@millrace/base'
import { lookUp, NoRoute } from '@millrace/rules'
import type { RequestView } from '@millrace/wire'
import type { Allocator } from './allocator'
import { complete } from './complete'
import type { Config } from './config'
import { Decisions } from './decisions'
import type { Mapping } from './mapping'
import { RecentRequests } from './recent-requests'
import type { Refused } from './refused'

/** What `route` says beside `NoRoute`: the decision that a request bears is refused. */
export const decisionRefused = Math.min(...Object.values(NoRoute)) - 1

/** From a verified request to the route that answers it, by the rules or by the decision that it bears. */
export class Router {
  /** Why a decision was refused. */
  refusal: Refused | null = null
  readonly recent: RecentRequests
  private readonly decisions: Decisions

  /** @param refillMs how often `recent` is refilled */
  constructor(
    config: Config,
    readonly allocator: Allocator,
    private readonly clock: Clock,
    refillMs: number,
  ) {
    this.decisions = new Decisions(config.decisionKey, config.decisionSeconds, () => clock.nowMs())
    this.recent = new RecentRequests(config.explainRequests, refillMs)
  }

  /** From here on the rules are these. */
  map({ table }: Mapping): void {
    this.allocator.ask(table.asked.map(({ experiment }) => experiment))
  }

  /** The route of a request, or one of `NoRoute`, or `decisionRefused`. */
  route(view: RequestView, mapping: Mapping): number {
    complete(view)
    if (view.decisionLength > 0) {
      const decided = view.overrideKind === 0 ? this.decisions.accept(view, mapping) : decisionAndOverride
      if (typeof decided !== 'number') {
        this.refusal = decided
        return decisionRefused
      }
      if (decided >= 0 && (mapping.versions[decided]!.served?.limits.length ?? 0) > 0) return decided
    }
    return lookUp(mapping.table, view, this.allocator)
  }

  /** Counts the request that was routed last, and remembers it while there is room. */
  count(view: RequestView, mapping: Mapping, route: number): void {
    const allocation = this.allocator.count()
    if (this.recent.room > 0) this.recent.add(view, mapping, route, this.clock.nowMs(), allocation)
  }

  /** The decision for a route, signed; null for a request that bears one: it would hold for ever. */
  sign(view: RequestView, mapping: Mapping, route: number): Uint8Array | null {
    return view.decisionLength > 0 ? null : this.decisions.sign(view, mapping, route)
  }
}

const decisionAndOverride: Refused = {
  code: Code.INVALID_ARGUMENT,
  message: 'decision: the request has an override too; give one of them',
}
