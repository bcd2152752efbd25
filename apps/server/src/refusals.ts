import { Code, Refusal } from '@millrace/base'
import { objectiveOf, refuseOverride, type Route, type Table } from '@millrace/rules'
import { contextOf, overrideOf, textAt, type RequestView } from '@millrace/wire'
import type { Refused } from './refused'
import type { Versions } from './versions'

/* What the road says to those whom it does not serve: which field or limit it is, and what to change. */

export function unknownObjective(view: RequestView, objectives: readonly string[]): string {
  if (view.objectiveBegin === 0 && view.objectiveLo === 0 && view.objectiveHi === 0)
    return 'objective: is missing; send its name or its hash'
  const asked =
    view.objectiveBegin > 0
      ? `'${textAt(view, view.objectiveBegin, Math.min(view.objectiveLength, 100))}'`
      : `hash ${((BigInt(view.objectiveHi) << 32n) | BigInt(view.objectiveLo)).toString(16)}`
  const more = objectives.length > 10 ? ` and ${objectives.length - 10} more` : ''
  return `objective: ${asked} is not served here; there are ${objectives.slice(0, 10).join(', ')}${more}`
}

/** Of a request whose override the rules do not allow. */
export function overrideRefused(view: RequestView, table: Table, versions: Versions): Refused {
  const asked = overrideOf(view)!
  const { code, message } = refuseOverride(table.rules, objectiveOf(table, view)!, contextOf(view), asked)
  const isThere =
    !('version' in asked) ||
    versions.all.some(({ description: { name, version } }) => name === asked.workflow && version === asked.version)
  return { code, message: isThere ? message : `${message}; this server has no such version` }
}

export function notReady({ workflow, version }: Route): string {
  return `${workflow}@${version} is not ready; the server's log and GET /v2/health/ready on its admin port say why`
}

export function tooManyRows(rows: number, rowsMax: number): string {
  return `inputs: ${rows} rows, at most ${rowsMax} (MILLRACE_REQUEST_ROWS_MAX)`
}

export function queueFull(label: string, rowsMax: number): string {
  return `${label} has ${rowsMax} rows waiting already (MILLRACE_QUEUE_ROWS_MAX); send it later`
}

/** The prediction in two digits: such a refusal is made once and given many times. */
export function tooLate(label: string, mayTakeUs: number, budgetUs: number): string {
  const digit = 10 ** (Math.floor(Math.log10(mayTakeUs)) - 1)
  const ms = (Math.ceil(mayTakeUs / digit) * digit) / 1000
  return `deadline: ${label} may take ${ms} ms to answer, by what waits before it, and the request gives ${budgetUs / 1000} ms; send it to another, or give it more time`
}

export function heldTooMuch(label: string, bulk: boolean): string {
  const limit = bulk ? 'MILLRACE_QUEUE_ROWS_MAX' : 'MILLRACE_FAIR_WAIT_MS'
  return `${label}: other tenants ask for it too, and this one holds its part of the rows already (${limit}); send it later`
}

export function tooManyCalls(max: number): string {
  return `this lane holds ${max} requests already (MILLRACE_REQUESTS_IN_FLIGHT_MAX); send it later`
}

export function arenaFull(bytes: number): string {
  return `no slab is free in the ${bytes} bytes of MILLRACE_ARENA_BYTES; send it later`
}

export function heldArena(who: 'connection' | 'tenant'): string {
  return `this ${who} holds its part of the arena already (MILLRACE_ARENA_BYTES); send it later`
}

export function rowTooLarge(row: number, bytes: number, bytesMax: number): string {
  return `inputs: row ${row} has ${bytes} bytes of strings and lists, at most ${bytesMax} fit a slab (MILLRACE_SLAB_BYTES_MAX)`
}

export function batchTimedOut(label: string, ranUs: number): string {
  const seconds = Number((ranUs / 1e6).toPrecision(2))
  return `${label}: its batch has run for ${seconds} s and is given up (MILLRACE_BATCH_TIMEOUT_MS); fewer rows may take less`
}

export function tooManySockets(max: number): Refusal {
  return new Refusal(
    Code.RESOURCE_EXHAUSTED,
    `this lane has ${max} WebSockets open already (MILLRACE_SOCKETS_MAX); connect later, or to another`,
  )
}

export function tooManyItems(count: number, max: number): string {
  return `items: ${count} requests in one list, at most ${max} (MILLRACE_LIST_ITEMS_MAX)`
}

export function tooMuchArrives(bytesMax: number): Refusal {
  return new Refusal(
    Code.RESOURCE_EXHAUSTED,
    `bodies that have arrived in part hold ${bytesMax} bytes already, and this one most (MILLRACE_ARRIVING_BYTES_MAX); send it later`,
  )
}

/** Why a request that says more beside its inputs than it may is refused; null when it does not. */
export function saysTooMuch(view: RequestView, bytesMax: number): Refused | null {
  let bytes = view.objectiveLength + view.subjectLength + view.overrideLength + view.overrideExperimentLength
  for (let i = 0; i < view.contextCount; i++) {
    bytes += view.contextNameLength[i]!
    if (view.contextKind[i] === 0) bytes += view.contextTextLength[i]!
  }
  if (bytes <= bytesMax) return null
  const message = `context: ${bytes} bytes with objective and subject, at most ${bytesMax} (MILLRACE_CONTEXT_BYTES_MAX)`
  return { code: Code.INVALID_ARGUMENT, message }
}
