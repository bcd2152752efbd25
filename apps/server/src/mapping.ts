import { Buckets, codeNames, trafficClasses } from '@millrace/base'
import { rulesFor, runningCanaries, type Rules, type Table } from '@millrace/rules'
import type { RouteMessage } from '@millrace/wire'
import { routeHash } from './decisions'
import type { LaneVersion } from './lane-version'
import { enrichedOf, type Enriched } from './read-context'
import { RefusalTemplates } from './refusal-templates'
import { ReplyTemplates } from './reply-templates'
import { targetsOf, type ShadowTarget } from './shadow/targets'
import type { ShadowTallies } from './shadow/tally'
import type { Routed } from './versions'

/** Counters of a label: by traffic class and code. */
export const countersOfLabel = codeNames.length * trafficClasses.length

/** Microseconds, 50 to 10 s: each bound is an eleventh more than the one before, fine enough to compare percentiles. */
export const ratioBoundsUs: readonly number[] = Array.from({ length: 118 }, (_, i) => 50 * 1.11 ** i)

/** What an answer is counted by. */
export interface AnswerLabel {
  readonly objective: string
  readonly workflow: string
  readonly version: number
  readonly rule: string
}

/** Answers by what decided them, traffic class and code, whatever rules were in force. */
export class AnswerCounts {
  /** `countersOfLabel` for each label. */
  counts = new Float64Array(countersOfLabel)
  /** What the first of them, of requests that were not routed, is followed by. */
  readonly labels: AnswerLabel[] = [{ objective: '', workflow: '', version: 0, rule: '' }]
  /** Microseconds, by begin, of labels whose times are compared. */
  readonly latencies = new Map<number, Buckets>()
  private readonly begins = new Map<string, number>()
  /** Begins that nobody counts at. */
  private readonly free: number[] = []

  /** Where a route's answers are counted: the index of its first counter. */
  begin({ objective, workflow, version, rule }: AnswerLabel): number {
    const key = JSON.stringify([objective, workflow, version, rule])
    const known = this.begins.get(key)
    if (known !== undefined) return known
    const label = { objective, workflow, version, rule }
    const free = this.free.pop()
    if (free !== undefined) {
      this.labels[free / countersOfLabel] = label
      this.begins.set(key, free)
      return free
    }
    const begin = (this.labels.push(label) - 1) * countersOfLabel
    this.begins.set(key, begin)
    const grown = new Float64Array(begin + countersOfLabel)
    grown.set(this.counts)
    this.counts = grown
    return begin
  }

  /** Where the times of answers are counted whose first counter is at `begin`. */
  latency(begin: number): Buckets {
    const known = this.latencies.get(begin)
    if (known !== undefined) return known
    const buckets = new Buckets(ratioBoundsUs)
    this.latencies.set(begin, buckets)
    return buckets
  }

  /** Forgets the answers of a version that is gone, and that no rules in force route to. */
  release(workflow: string, version: number): void {
    for (const [key, begin] of this.begins) {
      const label = this.labels[begin / countersOfLabel]!
      if (label.workflow !== workflow || label.version !== version) continue
      this.counts.fill(0, begin, begin + countersOfLabel)
      this.latencies.delete(begin)
      this.begins.delete(key)
      this.free.push(begin)
    }
  }
}

/**
 * One version of the rules as a lane answers by it. A publish replaces it whole; a request keeps the one that decided
 * it until it is answered.
 */
export class Mapping {
  readonly table: Table
  /** By route. */
  readonly versions: readonly LaneVersion[]
  /** By route: what replies say about it. */
  readonly messages: readonly RouteMessage[]
  readonly templates: ReplyTemplates
  readonly refusals: RefusalTemplates
  /** By route. */
  readonly enriched: readonly Enriched[]
  /** Takes the enrichments of one request. */
  readonly enriching: Int32Array
  /** By route: where its answers are counted. */
  readonly countsAt: Int32Array
  /** By route: where the times of its answers are counted; null where nobody compares them. */
  readonly latencies: readonly (Buckets | null)[]
  /** By shadow of the table. */
  readonly targets: readonly ShadowTarget[]
  /** By route: 1 when requests that it answers are copied. */
  readonly shadowed: Uint8Array
  /** Takes the shadows of one request. */
  readonly shadowing: Int32Array
  /** By route, and routes by them; made with the first decision. */
  private routeHashes: Float64Array | null = null
  private readonly routesByHash = new Map<number, number>()

  constructor(routed: Routed, counts: AnswerCounts, tallies: ShadowTallies) {
    const { table, versions } = routed
    this.table = table
    this.versions = versions
    this.messages = table.routes.map(({ workflow, version, rule, cell }) => {
      return { workflow, version, rule, cell, rulesVersion: table.version }
    })
    this.refusals = new RefusalTemplates(this.messages)
    this.templates = new ReplyTemplates((route) => ({
      message: this.messages[route]!,
      signature: versions[route]!.description.signature,
    }))
    this.enriched = table.routes.map(({ objective }, route) => enrichedOf(table, objective, versions[route]!))
    this.enriching = new Int32Array(table.enrichments.length)
    this.countsAt = Int32Array.from(table.routes, (route) => counts.begin(route))
    const compared = comparedRules(table.rules)
    this.latencies = table.routes.map(({ objective, rule }, route) =>
      compared.get(objective)?.has(rule) === true ? counts.latency(this.countsAt[route]!) : null,
    )
    this.targets = targetsOf(routed, counts, tallies)
    this.shadowed = Uint8Array.from(table.routes, (_, route) =>
      this.targets.some(({ pairs }) => pairs.has(route)) ? 1 : 0,
    )
    this.shadowing = new Int32Array(this.targets.length)
  }

  /** What a decision names a route by. */
  hashOfRoute(route: number): number {
    return this.hashes()[route]!
  }

  /** The route with this hash, or -1. */
  routeOfHash(hash: number): number {
    this.hashes()
    return this.routesByHash.get(hash) ?? -1
  }

  private hashes(): Float64Array {
    if (this.routeHashes !== null) return this.routeHashes
    this.routeHashes = Float64Array.from(this.table.routes, routeHash)
    this.routeHashes.forEach((hash, route) => this.routesByHash.set(hash, route))
    return this.routeHashes
  }
}

/** By objective, the rules whose times a canary's `stop` compares: the canary and the default. */
function comparedRules(rules: Rules): ReadonlyMap<string, ReadonlySet<string>> {
  const canaries = runningCanaries(rules).filter(({ stop }) => stop?.p99_ratio_max !== undefined)
  const objectives = [...new Set(canaries.flatMap((canary) => canary.objectives))]
  return new Map(
    objectives.map((objective) => [
      objective,
      new Set(['default', ...rulesFor(canaries, objective).map(({ id }) => id)]),
    ]),
  )
}
