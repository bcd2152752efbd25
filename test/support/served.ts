import { mkdtempSync, rmSync } from 'node:fs'
import { request, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client, type ClientOptions } from '@millrace/client'
import { readTopology } from '@millrace/pool'
import { openLog, readConfig, startServer, type LaneSnapshot, type Server } from '@millrace/server'

/*
 * A whole server on free ports: supervisor, lanes, threads, sockets. Test files end with `afterAll(stopServed)`.
 */

/** Workflows that echo what they are asked, take their time, fail as they are told. */
export const fixtures = join(__dirname, '..', 'fixtures', 'repository')

export interface HttpAnswer {
  readonly status: number
  readonly contentType: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface Served {
  readonly server: Server
  /** What the supervisor wrote to its log, at every level. */
  readonly logged: readonly string[]
  /** Closed when the server is stopped by `stopServed`. */
  client(options?: Partial<ClientOptions>): Client
  /** To the data port. */
  post(path: string, body: string | Uint8Array, contentType?: string): Promise<HttpAnswer>
  /** One request or a list in the JSON twin, to `/v1/score`. */
  json(body: unknown): Promise<{ readonly status: number; readonly body: unknown }>
  admin(method: string, path: string, body?: string): Promise<HttpAnswer>
  /** Of the only lane. */
  lane(): Promise<LaneSnapshot>
  /** Resolves when nothing is in flight, in a queue or in a slab; rejects with what is, when that does not come true. */
  idle(): Promise<void>
}

const open = new Set<{ readonly server: Server; readonly clients: Client[] }>()

/** Folders of the servers over the fixtures, which all test files share: what one publishes is not the others'. */
const states: string[] = []

function ownState(): Readonly<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-state-'))
  states.push(folder)
  return { MILLRACE_STATE_FOLDER: folder }
}

/** Starts a server of `env` over a repository. */
export async function serve(env: Readonly<Record<string, string>> = {}, repository = fixtures): Promise<Served> {
  const variables = {
    MILLRACE_PORT: '0',
    MILLRACE_ADMIN_PORT: '0',
    MILLRACE_LOG_LEVEL: 'silent',
    MILLRACE_ARENA_BYTES: '64MiB',
    // Test files run beside each other: nobody has CPUs for himself, and nobody counts on them.
    MILLRACE_PINNING: 'off',
    MILLRACE_OVERSUBSCRIBE: 'yes',
    ...(repository === fixtures && ownState()),
    ...env,
  }
  const config = readConfig(variables, { repository, topology: readTopology() })
  const logged: string[] = []
  const record = (fields: unknown, message?: string): void => void logged.push(message ?? String(fields))
  const log = Object.assign(openLog('silent'), { info: record, warn: record, error: record })
  const server = await startServer(config, log)
  const clients: Client[] = []
  open.add({ server, clients })
  const post: Served['post'] = (path, body, contentType = 'application/json') =>
    http(server.port, 'POST', path, body, { 'content-type': contentType })
  return {
    server,
    logged,
    post,
    client: (options) => {
      // Tests count what a server answers: what is asked is asked once.
      const client = new Client({ url: `http://127.0.0.1:${server.port}`, retries: 0, ...options })
      clients.push(client)
      return client
    },
    json: async (body) => {
      const answer = await post('/v1/score', JSON.stringify(body))
      return { status: answer.status, body: JSON.parse(answer.body.toString('utf8')) as unknown }
    },
    admin: (method, path, body) => http(server.adminPort, method, path, body),
    lane: async () => (await server.snapshots())[0]!,
    idle: () =>
      until('the lanes are idle', async () => {
        const busy = (await server.snapshots()).map(({ requestsInFlight, arena, queueRows, pools }) => ({
          requestsInFlight,
          usedSlabs: arena.usedSlabs,
          usedBytes: arena.usedBytes,
          rowsQueued: queueRows.reduce((sum, { rows }) => sum + rows, 0),
          batchesInFlight: pools.reduce((sum, pool) => sum + pool.batchesInFlight, 0),
        }))
        return busy.every((lane) => Object.values(lane).every((n) => n === 0)) || JSON.stringify(busy)
      }),
  }
}

/** Closes every client and stops every server of this file. */
export async function stopServed(): Promise<void> {
  for (const { server, clients } of [...open]) {
    await Promise.all(clients.map((client) => client.close()))
    await server.stop()
  }
  open.clear()
  for (const folder of states.splice(0)) rmSync(folder, { recursive: true, force: true })
}

/** One request on a connection of its own. */
export function http(
  port: number,
  method: string,
  path: string,
  body: string | Uint8Array = '',
  headers: Readonly<Record<string, string>> = {},
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const length = { 'content-length': String(Buffer.byteLength(body)) }
    const req = request({ port, method, path, headers: { ...length, ...headers }, agent: false }, (res) => {
      const pieces: Buffer[] = []
      res.on('data', (piece: Buffer) => pieces.push(piece))
      res.on('error', reject)
      res.on('end', () =>
        resolve({
          status: res.statusCode!,
          contentType: res.headers['content-type'] ?? '',
          headers: res.headers,
          body: Buffer.concat(pieces),
        }),
      )
    })
    req.on('error', reject)
    req.end(body)
  })
}

/** Sends bytes as they are and resolves with all that came back when the server closed the connection. */
export function exchange(port: number, ...pieces: readonly (string | Uint8Array)[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const answer: Buffer[] = []
    socket.on('data', (piece: Buffer) => answer.push(piece))
    // What was sent into a closed connection is answered by a reset: closed is closed.
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(Buffer.concat(answer).toString('latin1')))
    for (const piece of pieces) socket.write(piece)
  })
}

/** For what has no event: asks until the answer is true, and rejects with the last one after 20 seconds. */
export async function until(what: string, ask: () => Promise<true | string>): Promise<void> {
  const end = performance.now() + 20_000
  for (;;) {
    const answer = await ask()
    if (answer === true) return
    if (performance.now() > end) throw new Error(`it did not come true that ${what}: ${answer}`)
    await delay(20)
  }
}
