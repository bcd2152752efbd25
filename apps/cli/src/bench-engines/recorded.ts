import { readFileSync } from 'node:fs'
import type { ColumnSpec, Context } from '@millrace/base'
import { objectiveHash } from '@millrace/rules'
import { columnValues } from '@millrace/server'
import { columnsToJson } from '@millrace/workflow'
import { decodeRecording, decodeRequest, type RequestMessage } from '@millrace/wire'
import type { JsonInputs } from './made-up'

/** Of a recording, at most, evenly over it. */
const requestsMax = 256

/** A request as it was recorded. */
export interface RecordedRequest {
  readonly inputs: JsonInputs
  readonly context: Context | undefined
}

/**
 * The requests of a recording that are for one objective.
 *
 * Throws an Error that names the file where there are none, or where one lacks a column.
 */
export function recordedRequests(file: string, objective: string, specs: readonly ColumnSpec[]): RecordedRequest[] {
  const { lo, hi } = objectiveHash(objective)
  const hash = (BigInt(hi) << 32n) | BigInt(lo)
  const all = decodeRecording(readFileSync(file))
    .requests.map(({ message }) => decodeRequest(message))
    .filter((request) => request.objectiveHash === hash || request.objective === objective)
  if (all.length === 0) throw new Error(`${file} has no requests for ${objective}`)
  const count = Math.min(all.length, requestsMax)
  return Array.from({ length: count }, (_, i) => {
    const request = all[Math.floor((i * all.length) / count)]!
    return { inputs: inputsOf(file, request, specs), context: request.context }
  })
}

function inputsOf(file: string, { inputs = [] }: RequestMessage, specs: readonly ColumnSpec[]): JsonInputs {
  for (const { name } of specs)
    if (!inputs.some((column) => column.name === name)) throw new Error(`${file}: a request has no column ${name}`)
  return columnsToJson(specs, columnValues(inputs))
}
