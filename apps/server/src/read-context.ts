import { trafficClasses } from '@millrace/base'
import { lookUpEnrichments, type Table } from '@millrace/rules'
import { matchContext, standIn, type ContextIntake, type Matched, type RequestView, type StandIn } from '@millrace/wire'
import type { LaneVersion } from './lane-version'
import type { Mapping } from './mapping'

/** Texts of the traffic classes, by number. */
const traffics = trafficClasses.map(standIn)

/**
 * Finds what a version reads of a request's context: what enrichments set, else what the request says, else what the
 * workflow declares. Allocates nothing.
 *
 * @param set what enrichments set of it
 * @param traffic the class that the version sees, which for a copy of a request is not the request's own
 * @returns false with `matched.fault` saying which attribute is missing, or of another kind
 */
export function readContext(
  view: RequestView,
  mapping: Mapping,
  set: Enriched,
  context: ContextIntake,
  traffic: number,
  matched: Matched,
): boolean {
  const { count, trafficAt } = context
  for (let a = 0; a < count; a++) matched.standIn[a] = null
  if (set !== null) {
    const { enriching } = mapping
    const holding = lookUpEnrichments(mapping.table, view, enriching)
    for (let e = 0; e < holding; e++) for (let a = 0; a < count; a++) matched.standIn[a] ??= set[enriching[e]!]![a]!
  }
  if (trafficAt >= 0) matched.standIn[trafficAt] = traffics[traffic]!
  return matchContext(view, context, matched)
}

/** What enrichments set of what a version reads: by enrichment of the rules and attribute; null where nothing is set. */
export type Enriched = readonly (readonly (StandIn | null)[])[] | null

/** What the enrichments of an objective set for a version; null until it is loaded. */
export function enrichedOf({ enrichments }: Table, objective: string, { served }: LaneVersion): Enriched {
  const specs = served?.intake.context?.specs ?? []
  const sets = enrichments.map(({ objectives, set }) =>
    specs.map(({ name }) => (objectives.includes(objective) && Object.hasOwn(set, name) ? standIn(set[name]!) : null)),
  )
  return sets.some((values) => values.some((value) => value !== null)) ? sets : null
}
