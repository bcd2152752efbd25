import { Code, type Strings } from '@millrace/base'
import type { FactRows, FactStore } from '@millrace/facts'
import type { BatchContext } from './context'
import type { FactPlan } from './define'
import { isPromise } from './is-promise'

/**
 * Reads every declared fact of the batch, each table in one call, into `batch.facts`; a promise only when the
 * store is asynchronous. Keys that are not there get the declared default or refuse their request.
 */
export function readFacts(plans: readonly FactPlan[], store: FactStore, batch: BatchContext): void | Promise<void> {
  // All reads are under way before the first is awaited.
  const reads = plans.map((plan) => store.read(plan.table, batch.inputs[plan.by] as Strings | BigUint64Array))
  if (reads.some((read) => isPromise(read)))
    return Promise.all(reads).then((found) => found.forEach((rows, f) => settle(plans[f]!, rows, batch)))
  for (let f = 0; f < plans.length; f++) settle(plans[f]!, reads[f] as FactRows, batch)
}

function settle(plan: FactPlan, rows: FactRows, batch: BatchContext): void {
  if (plan.missing === 'refuse' && rows.found.includes(0)) refuseMissing(plan, rows.found, batch)
  batch.found[plan.name] = rows.found
  batch.facts[plan.name] = plan.columns.of(rows)
}

function refuseMissing(plan: FactPlan, found: Uint8Array, batch: BatchContext): void {
  const keys = batch.inputs[plan.by] as Strings | BigUint64Array
  for (let i = found.indexOf(0); i >= 0; i = found.indexOf(0, i + 1)) {
    const request = plan.per === 'row' ? batch.requestOf[i]! : i
    if (batch.isRefused(request)) continue
    const key = keys instanceof BigUint64Array ? String(keys[i]) : `'${keys.at(i).slice(0, 100)}'`
    batch.refuse(request, Code.NOT_FOUND, `table '${plan.table}' has no row for key ${key} (input '${plan.by}')`)
  }
}
