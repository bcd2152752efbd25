import { codeNames } from '@millrace/base'
import type { Table } from '@millrace/rules'
import type { RouteMessage } from '@millrace/wire'
import { ReplyTemplates } from './reply-templates'
import type { LaneVersion, Routed } from './versions'

const codes = codeNames.length

/** Answers by objective, workflow version and code, whatever rules were in force. */
export class AnswerCounts {
  /** `codes` for each label. */
  counts = new Float64Array(codes)
  /** What the first of them, of requests that were not routed, is followed by. */
  readonly labels: { readonly objective: string; readonly workflow: string; readonly version: number }[] = [
    { objective: '', workflow: '', version: 0 },
  ]
  private readonly begins = new Map<string, number>()

  /** Where a route's answers are counted: the index of its first code. */
  begin({ objective, workflow, version }: { objective: string; workflow: string; version: number }): number {
    const key = JSON.stringify([objective, workflow, version])
    const known = this.begins.get(key)
    if (known !== undefined) return known
    const begin = this.labels.push({ objective, workflow, version }) * codes - codes
    this.begins.set(key, begin)
    const grown = new Float64Array(begin + codes)
    grown.set(this.counts)
    this.counts = grown
    return begin
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
  /** By route: where its answers are counted. */
  readonly countsAt: Int32Array

  constructor({ table, versions }: Routed, counts: AnswerCounts) {
    this.table = table
    this.versions = versions
    this.messages = table.routes.map(({ workflow, version, rule, cell }) => {
      return { workflow, version, rule, cell, rulesVersion: table.version }
    })
    this.templates = new ReplyTemplates((route) => ({
      message: this.messages[route]!,
      signature: versions[route]!.description.signature,
    }))
    this.countsAt = Int32Array.from(table.routes, (route) => counts.begin(route))
  }
}
