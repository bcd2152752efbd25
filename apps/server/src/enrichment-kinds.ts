import { kindOf, type AttributeSpec } from '@millrace/base'
import type { Table } from '@millrace/rules'

/**
 * Enrichments that set an attribute to another kind of value than a version reads that they lead to.
 *
 * @param contextOf by route: the attributes that its version reads
 */
export function enrichmentProblems(table: Table, contextOf: (route: number) => readonly AttributeSpec[]): string[] {
  const problems = new Set<string>()
  for (const [route, { objective, workflow, version }] of table.routes.entries())
    for (const { name, kind } of contextOf(route))
      for (const [e, { objectives, set }] of table.enrichments.entries()) {
        const value = objectives.includes(objective) && Object.hasOwn(set, name) ? set[name]! : null
        if (value !== null && kindOf(value) !== kind)
          problems.add(`$.enrichments[${e}].set.${name}: is ${kindOf(value)}, ${workflow}@${version} reads ${kind}`)
      }
  return [...problems]
}
