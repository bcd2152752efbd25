import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { z } from 'zod'
import { Code, codeOf, Refusal } from '@millrace/base'
import { httpStatus, parseJson } from '@millrace/wire'
import { askNobody } from './allocator'
import type { Config } from './config'
import { asksForRecent, explainLive } from './explain-live'
import { httpLimits, isPlain } from './http-limits'
import type { Lifecycle } from './lifecycle'
import type { Log } from './log'
import { metricsContentType, metricsPage } from './metrics'
import { runningAgain, type Publisher } from './publisher'
import { sumOf } from './retired'
import type { RulesVersion } from './rules-store'
import { shadowReports, type LaneExamples } from './shadow/report'
import { LaneError, type Supervisor } from './supervisor'
import { followTls, readTls, secureOptions, tlsFilesOf, type TlsFiles } from './tls'

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

/** What a server is asked about. */
export interface Desk {
  readonly supervisor: Supervisor
  readonly publisher: Publisher
  readonly lifecycle: Lifecycle
}
type Route = (desk: Desk, req: IncomingMessage) => Promise<Answer> | Answer

const routes: Readonly<Record<string, Route>> = {
  'GET /metrics': async ({ supervisor, publisher }) => {
    const answered = await supervisor.snapshots('scrape')
    const counted = sumOf(supervisor.retired, supervisor.lastSnapshots)
    const body = await metricsPage(
      answered,
      counted,
      supervisor.lanes,
      supervisor.restarts,
      supervisor.gpus,
      supervisor.tenantNames,
      publisher.current.version,
    )
    return { status: 200, contentType: metricsContentType, body }
  },
  'GET /v2/health/live': () => Promise.resolve({ status: 200, body: { live: true } }),
  'GET /v2/health/ready': async ({ supervisor }) => {
    const snapshots = await supervisor.snapshots()
    const reasons = [...new Set(snapshots.flatMap(({ notReady }) => notReady))]
    const missing = supervisor.lanes - snapshots.length
    if (missing > 0) reasons.push(`${missing} of ${supervisor.lanes} lanes do not serve`)
    const ready = reasons.length === 0
    return { status: ready ? 200 : 503, body: ready ? { ready } : { ready, reasons } }
  },
  'GET /v1/workflows': async ({ supervisor, lifecycle }) => ({
    status: 200,
    body: { workflows: lifecycle.workflows(await supervisor.snapshots()) },
  }),
  'GET /v1/pools': async ({ supervisor }) => ({
    status: 200,
    body: { seating: supervisor.config.seating, lanes: await supervisor.seats() },
  }),
  'GET /v1/rules': async ({ supervisor, publisher }) => {
    const { version, rules, ...made } = publisher.current
    const lanes = (await supervisor.snapshots()).map(({ lane, rulesVersion }) => ({ lane, version: rulesVersion }))
    return { status: 200, body: { ...rules, ...made, version, lanes } }
  },
  'POST /v1/rules': async (desk, req) => {
    const { lifecycle, publisher } = desk
    const { check, ...publish } = parsed(publishBody, await bodyOf(req))
    // What it names may be there since a moment ago.
    lifecycle.look()
    if (check !== true) return put(desk, () => publisher.publish(lifecycle, publish))
    await publisher.check(lifecycle, publish.rules)
    return { status: 200, body: { good: true } }
  },
  'GET /v1/rules/versions': ({ publisher }) => ({ status: 200, body: publisher.history().map(withoutRules) }),
  'GET /v1/rules/versions/<version>': ({ publisher }, req) => ({
    status: 200,
    body: publisher.version(Number(pathOf(req).split('/').at(-1))),
  }),
  'POST /v1/rules/rollback': async (desk, req) => {
    const { lifecycle, publisher } = desk
    const { version, author, note } = parsed(rollbackBody, await bodyOf(req))
    lifecycle.look()
    return put(desk, () => publisher.rollback(lifecycle, version, author, note))
  },
  'POST /v1/restart': async ({ supervisor }) => ({ status: 200, body: { lanes: await supervisor.restartAll() } }),
  'GET /v1/shadows': async ({ supervisor, publisher }) => {
    const snapshots = await supervisor.snapshots()
    const sums = sumOf(supervisor.retired, supervisor.lastSnapshots).shadows.values()
    const examples = (await supervisor.askAll('examples')) as LaneExamples[][]
    const paused = snapshots.flatMap(({ lane, shadowPauses }) => shadowPauses.map((pause) => ({ lane, ...pause })))
    return { status: 200, body: { shadows: shadowReports(publisher.current.rules, sums, examples), paused } }
  },
  'POST /v1/explain': async (desk, req) => {
    const json = parseJson(await bodyOf(req))
    // What callers sent is not for everybody.
    if (asksForRecent(json)) mustBear(req, desk.supervisor.config.adminToken)
    return { status: 200, body: await explainLive(desk, json) }
  },
}

const made = { author: z.string().max(200).optional(), note: z.string().max(2000).optional() }
const publishBody = z.strictObject({ rules: z.unknown(), check: z.boolean().optional(), ...made })
const rollbackBody = z.strictObject({ version: z.int().positive().optional(), ...made })

function parsed<T>(schema: z.ZodType<T>, body: string): T {
  const read = schema.safeParse(body === '' ? {} : parseJson(body))
  if (read.success) return read.data
  const [issue] = read.error.issues
  throw new Refusal(Code.INVALID_ARGUMENT, `${issue!.path.join('.')}: ${issue!.message}`)
}

/** Puts a version in force, and says what its author should know. */
async function put({ publisher, supervisor }: Desk, how: () => Promise<RulesVersion>): Promise<Answer> {
  const before = publisher.current.rules
  const entry = await how()
  const warnings = [...runningAgain(before, entry.rules), ...askNobody(supervisor.config, entry.rules)]
  return { status: 200, body: { ...withoutRules(entry), warnings } }
}

function withoutRules({ rules: _, ...entry }: RulesVersion): Omit<RulesVersion, 'rules'> {
  return entry
}

/** Rejects when the port is taken. */
export async function openAdmin(config: Config, desk: Desk, log: Log): Promise<Admin> {
  const serve = (req: IncomingMessage, res: ServerResponse): void => {
    // What follows in the same packet is read all the same.
    if (req.socket.destroyed || !isPlain(req)) return void req.socket.destroy()
    answer(desk, req, config.adminToken).then(
      (one) => send(res, one),
      (error: unknown) => send(res, failed(error, log)),
    )
  }
  const tls = tlsFilesOf(config, 'admin')
  const [server, unfollow] =
    tls === null ? [createServer(httpLimits, serve), () => undefined] : secured(tls, serve, log)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(config.adminPort, config.adminHost, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        unfollow()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function secured(files: TlsFiles, serve: RequestListener, log: Log): [Server, () => void] {
  const server = createTlsServer({ ...httpLimits, ...secureOptions(readTls(files)) }, serve)
  return [server, followTls(files, log, (texts) => server.setSecureContext(secureOptions(texts)))]
}

async function answer(desk: Desk, req: IncomingMessage, token: string): Promise<Answer> {
  const path = pathOf(req)
  const route = routes[`${req.method} ${path.replace(/\/\d{1,9}$/, '/<version>')}`]
  if (route === undefined) {
    const message = `${req.method} ${path.slice(0, 100)}: there are ${Object.keys(routes).join(', ')}`
    return { status: 404, body: { code: 'NOT_FOUND', message } }
  }
  if (req.headers.origin !== undefined)
    throw new Refusal(Code.PERMISSION_DENIED, 'origin: pages in browsers ask nothing here')
  // A change, or what callers sent.
  const changes = req.method !== 'GET' && (path.startsWith('/v1/rules') || path === '/v1/restart')
  if (changes || path === '/v1/shadows') mustBear(req, token)
  return route(desk, req)
}

function pathOf(req: IncomingMessage): string {
  return (req.url ?? '').split('?')[0]!
}

function mustBear(req: IncomingMessage, token: string): void {
  if (!bears(req, token))
    throw new Refusal(Code.UNAUTHENTICATED, 'send the admin token: Authorization: Bearer <MILLRACE_ADMIN_TOKEN>')
}

/** Hashed first: the comparison takes as long for every token. */
function bears(req: IncomingMessage, token: string): boolean {
  if (token === '') return true
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(req.headers.authorization ?? ''), hash(`Bearer ${token}`))
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
