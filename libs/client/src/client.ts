import { codeNames, fnv1a64, Refusal, type Context, type U64 } from '@millrace/base'
import {
  decodeReply,
  decodeReplyList,
  encodeRequest,
  encodeRequestList,
  type OverrideMessage,
  type ReplyMessage,
  type RouteMessage,
  type TimingsMessage,
} from '@millrace/wire'
import { fromColumn, toColumn, type InputValue, type OutputValue } from './columns'
import { headersOf, type ClientTls, type Connection } from './connection'
import { HttpConnection } from './http-connection'
import { LaneSpread } from './lane-spread'
import { Retries } from './retry'
import { ScoreError } from './score-error'
import { WebSocketConnection } from './web-socket-connection'

export interface ClientOptions {
  /**
   * `http://host:port` of the data port, or `https:` where it speaks TLS; several servers that serve the same: one that
   * breaks, drains or is not there is left for the next.
   */
  readonly url: string | readonly string[]
  /** `websocket` (the default): one connection, many requests in flight. `http`: a POST each. */
  readonly transport?: 'websocket' | 'http'
  /** Milliseconds that an answer may take where a request does not say; 10,000. */
  readonly timeoutMs?: number
  /**
   * How often a request that ended UNAVAILABLE is sent again, within its time: 2; 0 for never. All requests together are
   * sent again at most a thousand times and a fifth of them more.
   */
  readonly retries?: number
  /**
   * Connections: WebSockets that share the requests (1), on all lanes of a server alike; or at most so many to POST on (64).
   */
  readonly sockets?: number
  /** The key of a tenant, for servers that ask who somebody is; in no message of an error. */
  readonly token?: string
  /** Sent with every POST and with the upgrade. */
  readonly headers?: Readonly<Record<string, string>>
  /** Over `https:`: whom to trust, and what to show. */
  readonly tls?: ClientTls
}

/** What is asked. */
export interface ScoreRequest {
  readonly objective: string
  /** Who experiments allocate by. */
  readonly subject?: string | number | bigint
  readonly context?: Context
  readonly inputs: Readonly<Record<string, InputValue>>
  /** A version or a cell against the rules, for those whom they allow it; else rejected with PERMISSION_DENIED. */
  readonly override?: OverrideMessage
  /** Milliseconds until the answer is worth nothing; told to the server, and kept here. */
  readonly deadlineMs?: number
  readonly priority?: 'interactive' | 'bulk'
  readonly timings?: boolean
  /** What `resolve` answered for the same objective and subject: it holds instead of deciding again. */
  readonly decision?: ResolveAnswer
}

/** What would answer, and which rule chose it. */
export interface ResolveAnswer extends RouteMessage {
  /**
   * For proxies that pick hosts: the same text for requests that the same version answers. Sent as
   * `x-millrace-routing-key` with a POST of what is scored by this answer.
   */
  readonly routingKey: string
  /** Signed by the server, opaque; null where the request had one already. */
  readonly decision: Uint8Array | null
}

export interface ScoreAnswer {
  readonly outputs: Readonly<Record<string, OutputValue>>
  /** What answered, and which rule chose it. */
  readonly route: RouteMessage
  /** Microseconds in the server; null unless they were asked for. */
  readonly timings: TimingsMessage | null
}

/** Time that a deadline leaves for the way there and back before the client gives up by itself. */
const graceMs = 100
const routingKeyHeader = 'x-millrace-routing-key'

/** A client of one server, of several, or of whatever balances between them. */
export class Client {
  private readonly connections: readonly Connection[]
  private readonly timeoutMs: number
  private readonly hashes = new Map<string, bigint>()
  private readonly retries: Retries
  private nextId = 1n

  /** Throws a TypeError when there is no address, or one that is none. */
  constructor(options: ClientOptions) {
    const urls = [options.url].flat().map((url) => new URL(url))
    if (urls.length === 0 || new Set(urls.map(({ protocol }) => protocol)).size > 1)
      throw new TypeError('url: is one address or several, all of them http: or all https:')
    const { tls = {} } = options
    const headers = headersOf(options)
    this.timeoutMs = options.timeoutMs ?? 10_000
    this.retries = new Retries(options.retries ?? 2)
    if (options.transport === 'http') {
      const scores = urls.map((url) => new URL('/v1/score', url).href)
      this.connections = [new HttpConnection(scores, { headers, tls, sockets: options.sockets ?? 64 })]
    } else {
      const streams = urls.map((url) => {
        const stream = new URL('/v1/stream', url)
        stream.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
        return stream.href
      })
      const spread = new LaneSpread()
      this.connections = Array.from(
        { length: options.sockets ?? 1 },
        (_, i) => new WebSocketConnection(streams, i, { headers, tls }, spread),
      )
    }
  }

  /** Rejects with a ScoreError when it is refused or not answered; with a TypeError when the inputs are no columns. */
  async score(request: ScoreRequest): Promise<ScoreAnswer> {
    return this.retries.run(this.timeoutOf(request), async (leftMs) =>
      answerOf(request.objective, await this.ask(request, false, leftMs)),
    )
  }

  /** What would answer, without running it. Rejects as `score` does. */
  async resolve(request: Omit<ScoreRequest, 'inputs'>): Promise<ResolveAnswer> {
    const { route, resolved } = await this.retries.run(this.timeoutOf(request), async (leftMs) =>
      answered(request.objective, await this.ask({ ...request, inputs: {} }, true, leftMs)),
    )
    if (resolved === undefined) throw new ScoreError('DATA_LOSS', 'the reply has no routing key; is the server older?')
    return { ...route, ...resolved }
  }

  /**
   * Scores several requests at once, each routed, refused and answered on its own; answers come in their order. Over
   * HTTP they are one body, over WebSocket messages of their own.
   */
  async scoreMany(requests: readonly ScoreRequest[]): Promise<(ScoreAnswer | ScoreError)[]> {
    const connection = this.connections[0]!
    if (!(connection instanceof HttpConnection))
      return Promise.all(requests.map((request) => this.score(request).catch(asScoreError)))
    if (requests.length === 0) return []
    const timeoutMs = Math.max(...requests.map((request) => this.timeoutOf(request)))
    const results = new Array<ScoreAnswer | ScoreError>(requests.length)
    let left = requests.map((_, i) => i)
    const attempt = async (leftMs: number): Promise<void> => {
      const asked = left.map((i) => requests[i]!)
      const answers = await this.askList(connection, asked, leftMs, timeoutMs - leftMs)
      answers.forEach((answer, n) => (results[left[n]!] = answer))
      left = left.filter((i) => isUnavailable(results[i]!))
      if (left.length > 0) throw results[left[0]!] as ScoreError
    }
    await this.retries.run(timeoutMs, attempt).catch((error: unknown) => {
      const failure = asScoreError(error)
      for (const i of left) results[i] ??= failure
    })
    return results
  }

  /** Closes the connections; requests in flight are rejected. */
  async close(): Promise<void> {
    this.retries.close()
    await Promise.all(this.connections.map((connection) => connection.close()))
  }

  private async ask(request: ScoreRequest, dryRun: boolean, leftMs: number): Promise<Uint8Array> {
    const id = this.nextId++
    const connection = this.connections[Number(id % BigInt(this.connections.length))]!
    const key = request.decision?.routingKey
    const headers = key === undefined ? undefined : { [routingKeyHeader]: key }
    const message = this.encode(request, id, dryRun, this.timeoutOf(request) - leftMs)
    return connection.send(id, message, leftMs, headers)
  }

  private async askList(
    connection: HttpConnection,
    requests: readonly ScoreRequest[],
    leftMs: number,
    passedMs: number,
  ): Promise<(ScoreAnswer | ScoreError)[]> {
    const messages = requests.map((request) => this.encode(request, this.nextId++, false, passedMs))
    const body = await connection.send(0n, encodeRequestList(messages), leftMs)
    // A list that is refused whole is answered by one reply.
    const replies = isReply(body) ? requests.map(() => body) : decodeReplyList(body)
    if (replies.length !== requests.length)
      throw new ScoreError('DATA_LOSS', `${requests.length} requests were answered by ${replies.length} replies`)
    return replies.map((reply, i) => answerOrError(requests[i]!.objective, reply))
  }

  private timeoutOf({ deadlineMs }: Pick<ScoreRequest, 'deadlineMs'>): number {
    return deadlineMs === undefined ? this.timeoutMs : deadlineMs + graceMs
  }

  /** @param passedMs of its time, in attempts before */
  private encode(request: ScoreRequest, id: bigint, dryRun: boolean, passedMs: number): Uint8Array {
    const { objective, subject, context, inputs, override, deadlineMs, priority, timings, decision } = request
    return encodeRequest({
      id,
      objectiveHash: this.hashOf(objective),
      subject: typeof subject === 'number' ? BigInt(subject) : subject,
      context,
      inputs: Object.entries(inputs).map(([name, value]) => toColumn(name, value)),
      deadlineUs: deadlineMs === undefined ? undefined : Math.max(1, Math.round((deadlineMs - passedMs) * 1000)),
      priority,
      override,
      timings,
      dryRun,
      decision: decision?.decision ?? undefined,
    })
  }

  private hashOf(objective: string): bigint {
    const known = this.hashes.get(objective)
    if (known !== undefined) return known
    const bytes = Buffer.from(objective, 'utf8')
    const out: U64 = { lo: 0, hi: 0 }
    fnv1a64(bytes, 0, bytes.length, out)
    const hash = (BigInt(out.hi) << 32n) | BigInt(out.lo)
    this.hashes.set(objective, hash)
    return hash
  }
}

function answerOf(objective: string, message: Uint8Array): ScoreAnswer {
  const { route, timings, outputs } = answered(objective, message)
  return { outputs: Object.fromEntries(outputs.map((column) => [column.name, fromColumn(column)])), route, timings }
}

/** Throws a ScoreError when the reply is a refusal, or none at all. */
function answered(objective: string, message: Uint8Array): ReplyMessage & { readonly route: RouteMessage } {
  const reply = decoded(message)
  const { code, route } = reply
  // The server saw its hash alone.
  if (code === 'NOT_FOUND' && route === null) throw new ScoreError(code, `'${objective}': ${reply.message}`)
  if (code !== 'OK' || route === null) throw new ScoreError(code, reply.message, route)
  return { ...reply, route }
}

function answerOrError(objective: string, message: Uint8Array): ScoreAnswer | ScoreError {
  try {
    return answerOf(objective, message)
  } catch (error) {
    return asScoreError(error)
  }
}

function decoded(message: Uint8Array): ReplyMessage {
  try {
    return decodeReply(message)
  } catch (error) {
    throw asScoreError(error)
  }
}

function isUnavailable(result: ScoreAnswer | ScoreError): boolean {
  return result instanceof ScoreError && result.code === 'UNAVAILABLE'
}

function isReply(body: Uint8Array): boolean {
  return String.fromCharCode(...body.subarray(4, 8)) === 'MRRP'
}

/** Bugs and wrong inputs are thrown on. */
function asScoreError(error: unknown): ScoreError {
  if (error instanceof ScoreError) return error
  if (error instanceof Refusal) return new ScoreError(codeNames[error.code]!, error.message)
  throw error
}
