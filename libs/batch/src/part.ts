import { elementsPerRow, type ColumnSpec, type Signature } from '@millrace/base'
import type { BatchColumns } from './layout'

/** Some rows of a batch, as a batch. Its requests are numbered from 0; `firstRequest` is what the first one is outside. */
export interface BatchPart extends BatchColumns {
  readonly firstRequest: number
}

/**
 * Rows `begin .. end - 1` of a batch and the requests that they belong to, over the same memory: what is written to
 * its outputs is written to the batch's. A request whose rows are in several parts is in each of them.
 */
export function partOf(batch: BatchColumns, signature: Signature, begin: number, end: number): BatchPart {
  const firstRequest = batch.requestOf[begin]!
  const endRequest = batch.requestOf[end - 1]! + 1
  const cut = <C extends BatchColumns['outputs'][string] | BatchColumns['inputs'][string]>(
    spec: ColumnSpec,
    column: C,
  ): C => {
    const [from, to] = spec.per === 'row' ? [begin, end] : [firstRequest, endRequest]
    if ('spans' in column) return column.part(from, to) as C
    const width = elementsPerRow(spec)
    return (column as Float32Array).subarray(from * width, to * width) as C
  }
  return {
    firstRequest,
    rows: end - begin,
    requests: endRequest - firstRequest,
    requestOf: batch.requestOf.slice(begin, end).map((request) => request - firstRequest),
    inputs: Object.fromEntries(signature.inputs.map((spec) => [spec.name, cut(spec, batch.inputs[spec.name]!)])),
    context: Object.fromEntries(
      (signature.context ?? []).map((spec) => [spec.name, cut(spec, batch.context[spec.name]!)]),
    ),
    outputs: Object.fromEntries(signature.outputs.map((spec) => [spec.name, cut(spec, batch.outputs[spec.name]!)])),
    cursor: batch.cursor,
  }
}
