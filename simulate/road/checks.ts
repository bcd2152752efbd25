import type { CodeName } from '@millrace/base'
import type { Config } from '@millrace/server'
import { routingKey } from '@millrace/rules'
import type { ReplyMessage, RouteMessage } from '@millrace/wire'
import { expectedOutputs, sameColumn } from './columns'
import { isTooMuch, isTooMuchArena } from './holdings'
import { turnUsMax, unknownObjective } from './lane'
import type { Answer, Request } from './request'

/** Why an answer is none that its request may get; null: it may. */
export function faultOf(config: Config, request: Request, { reply, atUs }: Answer): string | null {
  const { code } = reply
  if (request.stranger !== null)
    return code === request.stranger && reply.route === null ? null : `says ${code} to somebody who may not ask`
  if (code !== 'NOT_FOUND' && !sameRoute(reply.route, request.route))
    return `says that ${text(reply.route)} decided, the rules say ${text(request.route)}`
  return code === 'OK'
    ? faultOfAnswer(request, reply, atUs)
    : faultOfRefusal(config, request, code, reply.message, atUs)
}

function faultOfAnswer(request: Request, reply: ReplyMessage, nowUs: number): string | null {
  const { version, route } = request
  if (request.dryRun) {
    if (!request.mayResolve) return 'says what would answer to somebody who may not ask it'
    const { workflow, version: number } = route!
    if (reply.resolved?.routingKey !== routingKey(workflow, number)) return `resolves to ${reply.resolved?.routingKey}`
    return reply.outputs.length > 0 ? 'has outputs, and was a dry run' : null
  }
  if (request.spoiled) return 'answers a request that has not all columns'
  if (nowUs > request.lastUs) return `comes ${nowUs - request.lastUs} us after its deadline`
  const { signature } = version!.description
  const expected = expectedOutputs(signature, request.kind, request.values, request.context)
  const { outputs } = reply
  const wrong = expected.find((column, c) => outputs[c] === undefined || !sameColumn(column, outputs[c]))
  if (wrong !== undefined) return `has another ${wrong.name} than its version computes`
  if (outputs.length !== expected.length) return `has ${outputs.length} outputs of ${expected.length}`
  if (request.ran.some((times) => times !== 1)) return `has rows that ran ${[...request.ran].join(', ')} times`
  const fates = [...request.fates].filter((fate) => fate !== 'abandoned')
  if (fates.length > 0) return `is good, though a part of it was ${fates.join(', ')}`
  if (request.timings !== (reply.timings !== null)) return 'has timings that were not asked for, or has not'
  if (reply.timings === null) return null
  const { queue, total } = reply.timings
  const took = nowUs - request.receivedUs
  const plausible = queue <= total && total <= took + turnUsMax
  return plausible ? null : `has timings of ${queue} in ${total} us, and took ${took}`
}

/** A refusal is good where what it says is so. */
function faultOfRefusal(
  config: Config,
  request: Request,
  code: CodeName,
  message: string,
  nowUs: number,
): string | null {
  const { fates, objective, rows } = request
  const said = (holds: boolean): string | null => (holds ? null : `says ${code}: ${message}`)
  switch (code) {
    case 'NOT_FOUND':
      return said(objective === unknownObjective)
    case 'UNAVAILABLE':
      if (message.includes('stopping')) return said(request.wasDraining)
      if (message.includes('is not ready')) return said(!request.wasReady)
      return said(fates.has('lost in time') || fates.has('abandoned'))
    case 'INVALID_ARGUMENT':
      if (message.includes('MILLRACE_REQUEST_ROWS_MAX')) return said(rows > config.requestRowsMax)
      if (message.includes('MILLRACE_SLAB_BYTES_MAX')) return said(heapOfLargestRow(request) > heapMax(request))
      if (message.startsWith('inputs.')) return said(request.spoiled)
      if (message.startsWith('context.')) return said(isMissed(request))
      return said(fates.has('refused'))
    case 'PERMISSION_DENIED':
      return said(request.dryRun && !request.mayResolve)
    case 'RESOURCE_EXHAUSTED':
      if (message.includes('MILLRACE_SOCKET_IN_FLIGHT_MAX')) return said(request.inFlight >= config.socketInFlightMax)
      if (message.includes('other tenants ask')) return said(isTooMuch(rows, request.share!))
      if (message.startsWith('limit ')) return said(request.limited.some((id) => message.startsWith(`limit ${id} `)))
      if (message.includes('MILLRACE_QUEUE_ROWS_MAX')) return said(request.rowsWaiting + rows > config.queueRowsMax)
      if (message.includes('MILLRACE_REQUESTS_IN_FLIGHT_MAX'))
        return said(request.callsUsed === config.requestsInFlightMax)
      if (message.includes('part of the arena')) return said(isTooMuchArena(request.arena!.asked, request.arena!))
      if (message.includes('MILLRACE_ARENA_BYTES')) return said(request.arenaFull && request.copiesWaiting === 0)
      return said(fates.has('too large'))
    case 'DEADLINE_EXCEEDED': {
      const budgetMs = Math.round(request.dueUs - request.receivedUs) / 1000
      if (message.includes('MILLRACE_BATCH_TIMEOUT_MS')) return said(fates.has('timed out'))
      const mayTake = /may take (\S+) ms/.exec(message)
      // Said in two digits, when it came: by what waits before it.
      if (mayTake !== null) return said(request.rowsWaiting > 0 && Number(mayTake[1]) > 0.94 * budgetMs)
      return said(nowUs > request.dueUs - turnUsMax && message.includes(` ${budgetMs} ms`))
    }
    case 'INTERNAL':
      return said(fates.has('failed'))
    default:
      return said(false)
  }
}

function heapMax({ version }: Request): number {
  return version!.served!.interactive.heapBytesMax
}

function heapOfLargestRow(request: Request): number {
  return Math.max(...Array.from({ length: request.rows }, (_, row) => heapOf(request, row, 1)))
}

/** Bytes of heap that rows take with what they take of the request and its context, each column's padded to 8. */
export function heapOf({ version, values, context }: Request, from: number, rows: number): number {
  const { inputs, context: attributes = [] } = version!.description.signature
  let bytes = 0
  inputs.forEach(({ ragged, per }, c) => {
    if (!ragged) return
    const some = per === 'row' ? values[c]!.slice(from, from + rows) : values[c]!
    bytes += padded(some.reduce((sum, { length }) => sum + length, 0))
  })
  for (const { name, kind, missing } of attributes)
    if (kind === 'text') bytes += padded(Buffer.byteLength((context[name] ?? missing) as string))
  return bytes
}

function isMissed({ version, context }: Request): boolean {
  const { context: attributes = [] } = version!.description.signature
  return attributes.some(({ name, missing }) => missing === null && !Object.hasOwn(context, name))
}

function padded(bytes: number): number {
  return (bytes + 7) & ~7
}

function sameRoute(a: RouteMessage | null, b: RouteMessage | null): boolean {
  return text(a) === text(b)
}

function text(route: RouteMessage | null): string {
  if (route === null) return 'nothing'
  const { workflow, version, rule, cell, rulesVersion } = route
  return `${workflow}@${version} by ${rule}${cell === null ? '' : `, cell ${cell}`}, rules version ${rulesVersion}`
}
