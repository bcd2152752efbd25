import { trafficClasses } from '@millrace/base'
import { lookUpEnrichments } from '@millrace/rules'
import { matchContext, standIn, type ContextIntake, type Matched, type RequestView, type StandIn } from '@millrace/wire'
import type { Mapping } from './mapping'

/** Texts of the traffic classes, by number. */
const traffics = trafficClasses.map(standIn)

/**
 * Finds what a version reads of a request's context: what enrichments set, else what the request says, else what the
 * workflow declares. Allocates nothing.
 *
 * @param traffic the class that the version sees, which for a copy of a request is not the request's own
 * @returns false with `matched.fault` saying which attribute is missing, or of another kind
 */
export function readContext(
  view: RequestView,
  mapping: Mapping,
  route: number,
  context: ContextIntake,
  traffic: number,
  matched: Matched,
): boolean {
  const { count, trafficAt } = context
  for (let a = 0; a < count; a++) matched.standIn[a] = null
  const set = mapping.enriched[route]!
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
