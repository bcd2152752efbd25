import { Code, Refusal, type Strings } from '@millrace/base'
import { rowsNotFound, type FactRows, type FactStore } from '@millrace/facts'
import type { BatchContext, BatchSink } from './context'
import type { FactPlan } from './define'
import { isPromise } from './is-promise'

/**
 * Reads every declared fact of the batch, each table in one call, into `batch.facts`; a promise only when the
 * store is asynchronous. Keys that are not there get the declared default or refuse their request; with `away: 'default'`
 * so do those that the store does not tell in its time, and `sink` is told why.
 */
export function readFacts(
  plans: readonly FactPlan[],
  store: FactStore,
  batch: BatchContext,
  sink: BatchSink,
): void | Promise<void> {
  // All reads are under way before the first is awaited.
  const reads = plans.map((plan) => read(plan, store, batch, sink))
  if (reads.some((read) => isPromise(read)))
    return Promise.all(reads).then((found) => found.forEach((rows, f) => settle(plans[f]!, rows, batch)))
  for (let f = 0; f < plans.length; f++) settle(plans[f]!, reads[f] as FactRows, batch)
}

/** Whether a store cannot be asked now: no bug of the workflow, nor of its facts. */
export function isAway(error: unknown): error is Refusal {
  return error instanceof Refusal && (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED)
}

function read(
  { table, by, fields, away }: FactPlan,
  store: FactStore,
  batch: BatchContext,
  sink: BatchSink,
): FactRows | Promise<FactRows> {
  const keys = batch.inputs[by] as Strings | BigUint64Array
  const reading = store.read(table, keys)
  if (away !== 'default' || !isPromise(reading)) return reading
  return reading.catch((error: unknown) => {
    if (!isAway(error)) throw error
    sink.failed('facts', error)
    return rowsNotFound(fields, keys.length)
  })
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
