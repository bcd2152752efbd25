import { Code, Strings, type DenseArray } from '@millrace/base'
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
  const complete = rows.found.indexOf(0) < 0
  if (!complete && plan.missing === 'refuse') refuseMissing(plan, rows.found, batch)
  batch.found[plan.name] = rows.found
  const fields = complete || plan.missing === 'refuse' ? rows.columns : withDefaults(plan, rows, plan.missing)
  batch.facts[plan.name] = plan.derived === null ? fields : { ...fields, ...plan.derived.columns(fields, rows) }
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

function withDefaults(
  plan: FactPlan,
  rows: FactRows,
  defaults: Exclude<FactPlan['missing'], 'refuse'>,
): FactRows['columns'] {
  const columns: Record<string, DenseArray | Strings> = { ...rows.columns }
  for (const { name, shape } of plan.fields) {
    const column = columns[name]!
    const value = defaults[name]!
    columns[name] =
      'spans' in column
        ? stringDefault(column, rows.found, value as string)
        : denseDefault(
            column,
            rows.found,
            value,
            shape.reduce((product, n) => product * n, 1),
          )
  }
  return columns
}

function denseDefault(column: DenseArray, found: Uint8Array, value: unknown, width: number): DenseArray {
  const numbers = column as Float32Array
  for (let i = found.indexOf(0); i >= 0; i = found.indexOf(0, i + 1)) {
    if (Array.isArray(value)) numbers.set(value as number[], i * width)
    else numbers.fill((typeof value === 'boolean' ? Number(value) : value) as number, i * width, (i + 1) * width)
  }
  return column
}

/** The column's own bytes and the default's in a heap of their own: the store's may be far larger. */
function stringDefault(column: Strings, found: Uint8Array, value: string): Strings {
  const standIn = Buffer.from(value, 'utf8')
  let bytes = standIn.length
  for (let i = 0; i < column.length; i++) bytes += column.spans[2 * i + 1]!
  const spans = new Uint32Array(2 * column.length)
  const heap = Buffer.allocUnsafe(bytes)
  let used = standIn.copy(heap)
  for (let i = 0; i < column.length; i++) {
    const text = found[i] === 1 ? column.bytes(i) : standIn
    spans[2 * i] = found[i] === 1 ? used : 0
    spans[2 * i + 1] = text.length
    if (found[i] === 1) used += text.copy(heap, used)
  }
  return new Strings(spans, heap, column.length)
}
