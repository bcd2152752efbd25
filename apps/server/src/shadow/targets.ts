import type { Shadow } from '@millrace/rules'
import type { LaneVersion } from '../lane-version'
import type { AnswerCounts } from '../mapping'
import { enrichedOf, type Enriched } from '../read-context'
import type { Routed } from '../versions'
import { comparisonOf, type Comparison } from './compare'
import type { ShadowTallies, ShadowTally } from './tally'

/** Where one shadow's copies of an objective's requests go, under one version of the rules. */
export interface ShadowTarget {
  readonly shadow: Shadow
  readonly version: LaneVersion
  readonly enriched: Enriched
  /** Where the answers of its copies are counted. */
  readonly countsAt: number
  /** By route whose requests it copies. */
  readonly pairs: ReadonlyMap<number, Pair>
  /** Copies that are neither compared nor dropped. */
  copies: number
}

/** What answers, and what a copy goes to. */
export class Pair {
  private compared: Comparison | null = null

  constructor(
    readonly tally: ShadowTally,
    readonly primary: LaneVersion,
    readonly copy: LaneVersion,
    private readonly ranking: string | undefined,
  ) {}

  /** Known when both have been loaded. */
  get comparison(): Comparison {
    if (this.compared !== null) return this.compared
    const { primary, copy, ranking } = this
    this.compared = comparisonOf(primary.description.signature, copy.description.signature, ranking)
    this.tally.apart = this.compared.apart
    return this.compared
  }
}

export function targetsOf(routed: Routed, counts: AnswerCounts, tallies: ShadowTallies): ShadowTarget[] {
  const { table, versions, shadows } = routed
  return table.shadows.map(({ objective, workflow, version: number, rule, shadow, copies }, s) => {
    const version = shadows[s]!
    const pairs = new Map<number, Pair>()
    for (const [route, { workflow: name, version: answering, rule: decided }] of table.routes.entries()) {
      if (copies[route] === 0) continue
      const label = {
        objective,
        shadow: rule,
        workflow,
        version: number,
        primary: `${name}@${answering}`,
        rule: decided,
      }
      pairs.set(route, new Pair(tallies.of(label), versions[route]!, version, shadow.ranking))
    }
    return {
      shadow,
      version,
      enriched: enrichedOf(table, objective, version),
      countsAt: counts.begin({ objective, workflow, version: number, rule }),
      pairs,
      copies: 0,
    }
  })
}
