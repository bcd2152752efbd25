import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Code, codeOf } from '@millrace/base'
import { httpStatus, parseJson } from '@millrace/wire'
import type { Config } from './config'
import type { Log } from './log'
import { metricsContentType, metricsPage } from './metrics'
import { sumOf } from './retired'
import { LaneError, type Supervisor } from './supervisor'

const bodyBytesMax = 1024 * 1024

/** The admin port: one page of metrics and one readiness for all lanes. */
export interface Admin {
  readonly port: number
  close(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly contentType?: string
  readonly body: unknown
}

type Route = (supervisor: Supervisor, req: IncomingMessage) => Promise<Answer>

const routes: Readonly<Record<string, Route>> = {
  'GET /metrics': async (supervisor) => {
    const answered = await supervisor.snapshots('scrape')
    const counted = sumOf(supervisor.retired, supervisor.lastSnapshots)
    const body = await metricsPage(answered, counted, supervisor.lanes, supervisor.restarts)
    return { status: 200, contentType: metricsContentType, body }
  },
  'GET /v2/health/live': () => Promise.resolve({ status: 200, body: { live: true } }),
  'GET /v2/health/ready': async (supervisor) => {
    const snapshots = await supervisor.snapshots()
    const reasons = [...new Set(snapshots.flatMap(({ notReady }) => notReady))]
    const missing = supervisor.lanes - snapshots.length
    if (missing > 0) reasons.push(`${missing} of ${supervisor.lanes} lanes do not serve`)
    const ready = reasons.length === 0
    return { status: ready ? 200 : 503, body: ready ? { ready } : { ready, reasons } }
  },
  'GET /v1/workflows': async (supervisor) => {
    const [first] = await supervisor.snapshots()
    return { status: 200, body: { workflows: first?.workflows ?? [] } }
  },
  'GET /v1/pools': async (supervisor) => ({
    status: 200,
    body: { seating: supervisor.config.seating, lanes: await supervisor.seats() },
  }),
  'GET /v1/rules': async (supervisor) => ({ status: 200, body: await supervisor.askAny('rules') }),
  'POST /v1/explain': async (supervisor, req) => ({
    status: 200,
    body: await supervisor.askAny('explain', parseJson(await bodyOf(req))),
  }),
}

/** Rejects when the port is taken. */
export async function openAdmin(config: Config, supervisor: Supervisor, log: Log): Promise<Admin> {
  const server = createServer((req, res) => {
    answer(supervisor, req).then(
      (one) => send(res, one),
      (error: unknown) => send(res, failed(error, log)),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(config.adminPort, config.adminHost, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function answer(supervisor: Supervisor, req: IncomingMessage): Promise<Answer> {
  const path = (req.url ?? '').split('?')[0]!
  const route = routes[`${req.method} ${path}`]
  if (route !== undefined) return route(supervisor, req)
  const message = `${req.method} ${path.slice(0, 100)}: there are ${Object.keys(routes).join(', ')}`
  return Promise.resolve({ status: 404, body: { code: 'NOT_FOUND', message } })
}

function failed(error: unknown, log: Log): Answer {
  const message = error instanceof Error ? error.message : String(error)
  // Refusals carry their code's name.
  const name = error instanceof LaneError ? error.code : ((error as Error | null)?.name ?? '')
  const code = codeOf(name) ?? Code.INTERNAL
  if (code === Code.INTERNAL) log.error({ err: error }, 'an admin request failed')
  const known = codeOf(name) === undefined ? 'INTERNAL' : name
  return { status: Number.parseInt(httpStatus[code]!, 10), body: { code: known, message } }
}

function send(res: ServerResponse, { status, contentType, body }: Answer): void {
  res.statusCode = status
  res.setHeader('content-type', contentType ?? 'application/json')
  res.end(typeof body === 'string' ? body : `${JSON.stringify(body, plain)}\n`)
}

/** Bigints and typed arrays have no JSON of their own. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

async function bodyOf(req: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of req as AsyncIterable<Buffer>) {
    bytes += piece.length
    if (bytes > bodyBytesMax) throw new LaneError('INVALID_ARGUMENT', `the body is larger than ${bodyBytesMax} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}
