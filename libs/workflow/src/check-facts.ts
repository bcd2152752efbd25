import type { FactStore } from '@millrace/facts'
import type { Workflow } from './define'

/** Throws an Error that names the first declared fact that the store does not have as declared. */
export function checkFacts(workflow: Workflow, store: FactStore | null, storeReason: string): void {
  if (workflow.facts.length === 0) return
  if (store === null)
    throw new Error(`it reads facts of ${workflow.facts.map((plan) => plan.table).join(', ')}, but ${storeReason}`)
  const tables = store.tables()
  for (const plan of workflow.facts) {
    const at = `facts.${plan.name}`
    const table = tables.find((other) => other.name === plan.table)
    if (table === undefined) {
      const there = tables.length === 0 ? 'none' : tables.map((other) => `'${other.name}'`).join(', ')
      throw new Error(`${at}: the fact store has no table '${plan.table}' (it has ${there}); load it first`)
    }
    if (table.key !== plan.key)
      throw new Error(`${at}: table '${plan.table}' has ${table.key} keys, input '${plan.by}' is ${plan.key}`)
    for (const field of plan.fields) {
      const stored = table.fields.find((other) => other.name === field.name)
      if (stored === undefined)
        throw new Error(
          `${at}: table '${plan.table}' has no field '${field.name}' (it has ${table.fields.map((other) => other.name).join(', ')})`,
        )
      const [is, declared] = [describe(stored), describe(field)]
      if (is !== declared)
        throw new Error(`${at}.${field.name} is declared ${declared}, table '${plan.table}' has ${is}`)
    }
  }
}

function describe(field: { readonly dtype: string; readonly shape: readonly number[] }): string {
  return `${field.dtype}[${field.shape.join(',')}]`
}
