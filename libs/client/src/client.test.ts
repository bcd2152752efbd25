import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DTypeName } from '@millrace/base'
import {
  dtypeName,
  encodeReply,
  encodeReplyList,
  goingAway,
  ListView,
  RequestView,
  textAt,
  verifyList,
  verifyRequest,
  type ReplyMessage,
  type WireColumn,
} from '@millrace/wire'
import { WebSocketServer, type WebSocket } from 'ws'
import { Client, ScoreError, type ClientOptions, type InputValue, type ScoreAnswer, type ScoreRequest } from './index'

const flatBuffers = 'application/x-flatbuffers'
const route = { workflow: 'price', version: 2, rule: 'default', cell: null, rulesVersion: 1 }

/** What a request says, as the server reads it. */
interface Asked {
  readonly id: bigint
  readonly objectiveHash: bigint
  readonly subject: string | bigint | null
  readonly deadlineUs: number
  readonly priority: number
  readonly flags: number
  readonly inputs: readonly WireColumn[]
  readonly decision: readonly number[]
}

function askedIn(buffer: ArrayBuffer, base: number, length: number): Asked {
  const view = new RequestView()
  if (!verifyRequest(buffer, base, length, view)) throw new Error('the client sent what is no request')
  const u64 = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) | BigInt(lo)
  const bytes = new Uint8Array(buffer, base, length)
  const numbers = (begin: number, n: number): Uint32Array => view.words.slice(begin >>> 2, (begin >>> 2) + n)
  const text = view.subjectBegin === 0 ? null : textAt(view, view.subjectBegin, view.subjectLength)
  return {
    id: u64(view.idLo, view.idHi),
    objectiveHash: u64(view.objectiveLo, view.objectiveHi),
    subject: view.subjectIsNumber === 1 ? u64(view.subjectNumberLo, view.subjectNumberHi) : text,
    deadlineUs: view.deadlineUs,
    priority: view.priority,
    flags: view.flags,
    decision: [...bytes.subarray(view.decisionBegin, view.decisionBegin + view.decisionLength)],
    inputs: Array.from({ length: view.inputCount }, (_, i) => ({
      name: textAt(view, view.nameBegin[i]!, view.nameLength[i]!),
      dtype: dtypeName(view.dtype[i]!),
      shape: [...numbers(view.shapeBegin[i]!, view.shapeLength[i]!)],
      data: bytes.slice(view.dataBegin[i], view.dataBegin[i]! + view.dataLength[i]!),
      ...(view.offsetsBegin[i] === 0 ? {} : { offsets: numbers(view.offsetsBegin[i]!, view.offsetsLength[i]!) }),
    })),
  }
}

function replyTo({ id }: Asked, reply: Partial<ReplyMessage> = {}): Uint8Array {
  return encodeReply({ id, code: 'OK', message: '', route, outputs: [], timings: null, ...reply })
}

/** Gives every column back. */
function echo(asked: Asked): Uint8Array {
  return replyTo(asked, { outputs: asked.inputs })
}

type Answer = (asked: Asked, socket: WebSocket | null) => Uint8Array | string | null

/** Speaks the wire, knows nothing. */
class FakeServer {
  readonly asked: Asked[] = []
  readonly headers: IncomingHttpHeaders[] = []
  connections = 0
  private readonly http: Server
  private readonly sockets = new WebSocketServer({ noServer: true })

  private constructor(answer: Answer) {
    const take = (asked: Asked, socket: WebSocket | null): Uint8Array | string | null => {
      this.asked.push(asked)
      return answer(asked, socket)
    }
    this.http = createServer((req, res) => {
      this.headers.push(req.headers)
      const pieces: Buffer[] = []
      req.on('data', (piece: Buffer) => pieces.push(piece))
      req.on('end', () => {
        const body = new Uint8Array(Buffer.concat(pieces))
        const list = new ListView()
        if (verifyList(body.buffer, 0, body.length, 100, list)) {
          const items = Array.from({ length: list.count }, (_, i) =>
            askedIn(body.buffer, list.begin[i]!, list.length[i]!),
          )
          const replies = items.map((item) => take(item, null) as Uint8Array)
          // A list that is refused whole is answered by one reply.
          const refused = replies.find((reply) => reply === null)
          const message = refused === null ? replyTo({ id: 0n } as Asked, tooMany) : encodeReplyList(replies)
          return res.writeHead(200, { 'content-type': flatBuffers }).end(message)
        }
        const reply = take(askedIn(body.buffer, 0, body.length), null)
        if (typeof reply === 'string') res.writeHead(502, { 'content-type': 'text/html' }).end(reply)
        else if (reply !== null) res.writeHead(200, { 'content-type': flatBuffers }).end(reply)
      })
    })
    this.http.on('connection', () => this.connections++)
    this.http.on('upgrade', (req, socket: Socket, head) => {
      this.headers.push(req.headers)
      this.sockets.handleUpgrade(req, socket, head, (webSocket) => {
        webSocket.on('message', (message: Buffer) => {
          const { buffer, length } = new Uint8Array(message)
          const reply = take(askedIn(buffer, 0, length), webSocket)
          if (reply !== null) webSocket.send(reply)
        })
      })
    })
  }

  static async start(answer: Answer, port = 0): Promise<FakeServer> {
    const server = new FakeServer(answer)
    server.http.listen(port, '127.0.0.1')
    await once(server.http, 'listening')
    return server
  }

  get port(): number {
    return (this.http.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    for (const socket of this.sockets.clients) socket.terminate()
    this.http.closeAllConnections()
    await new Promise((resolve) => this.http.close(resolve))
  }
}

const unavailable = { code: 'UNAVAILABLE', message: 'not now', route: null } as const
const tooMany = { code: 'INVALID_ARGUMENT', message: 'items: too many', route: null } as const

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

async function serving(answer: Answer = echo): Promise<FakeServer> {
  const server = await FakeServer.start(answer)
  opened.push(server)
  return server
}

function clientOf(port: number, options: Partial<ClientOptions> = {}): Client {
  const client = new Client({ url: `http://127.0.0.1:${port}`, ...options })
  opened.push(client)
  return client
}

async function errorOf(promise: Promise<unknown>): Promise<ScoreError> {
  const error: unknown = await promise.then(
    () => null,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(ScoreError)
  return error as ScoreError
}

const one = (value: number): ScoreRequest => ({ objective: 'price', inputs: { x: Float64Array.of(value) } })
const valueIn = (answer: ScoreAnswer): number => (answer.outputs.x as Float64Array)[0]!
const transports = ['websocket', 'http'] as const

/** TCP sockets that this process holds. */
const tcpSockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length

describe.each(transports)('over %s', (transport) => {
  test('a request says what it was given, an answer what came', async () => {
    const timings = { queue: 1, facts: 2, score: 3, total: 6 }
    const server = await serving((asked) => replyTo(asked, { outputs: asked.inputs, timings }))
    const client = clientOf(server.port, { transport, headers: { 'x-routing-key': 'a' } })
    const answer = await client.score({
      ...one(0.5),
      objective: 'foobar',
      subject: 'account-42',
      deadlineMs: 1500,
      priority: 'bulk',
      timings: true,
    })
    expect(answer).toEqual({ outputs: { x: Float64Array.of(0.5) }, route, timings })
    expect(server.asked[0]).toMatchObject({
      ...{ objectiveHash: 0x85944171f73967e8n, subject: 'account-42', deadlineUs: 1_500_000, priority: 1, flags: 1 },
    })
    expect(server.headers[0]).toMatchObject({ 'x-routing-key': 'a' })
    if (transport === 'http') expect(server.headers[0]).toMatchObject({ 'content-type': flatBuffers })
    await client.score({ ...one(1), subject: 2n ** 64n - 1n })
    await client.score({ ...one(1), subject: 42 })
    expect(server.asked.slice(1).map(({ subject }) => subject)).toEqual([2n ** 64n - 1n, 42n])
    expect(server.asked[1]!.deadlineUs).toBe(0)
  })

  test('a route alone is asked for without inputs', async () => {
    const resolved = { routingKey: 'price@2', decision: Uint8Array.of(1, 2, 3) }
    const server = await serving((asked) => replyTo(asked, { resolved }))
    const client = clientOf(server.port, { transport })
    const decision = await client.resolve({ objective: 'price', subject: 'a' })
    expect(decision).toEqual({ ...route, ...resolved })
    expect(server.asked[0]).toMatchObject({ flags: 2, inputs: [], decision: [] })

    await client.score({ ...one(1), subject: 'a', decision })
    expect(server.asked[1]).toMatchObject({ flags: 0, decision: [1, 2, 3] })
    expect(server.headers.at(-1)!['x-millrace-routing-key']).toBe(transport === 'http' ? 'price@2' : undefined)
  })

  test('a server that says no routing key is told apart', async () => {
    const server = await serving((asked) => replyTo(asked))
    await expect(clientOf(server.port, { transport }).resolve({ objective: 'price' })).rejects.toMatchObject({
      code: 'DATA_LOSS',
    })
  })

  test('requests at once are answered each with its own', async () => {
    const server = await serving()
    const client = clientOf(server.port, { transport, sockets: 3 })
    const values = Array.from({ length: 200 }, (_, i) => i)
    const answers = await Promise.all(values.map((value) => client.score(one(value))))
    expect(answers.map(valueIn)).toEqual(values)
    expect(server.connections).toBeLessThanOrEqual(3)
    expect(new Set(server.asked.map(({ id }) => id)).size).toBe(200)
  })

  test('many at once come back in their order, each answered or refused', async () => {
    const server = await serving((asked) =>
      asked.inputs[0]!.name === 'x' ? echo(asked) : replyTo(asked, { code: 'INVALID_ARGUMENT', message: 'no x' }),
    )
    const client = clientOf(server.port, { transport })
    const results = await client.scoreMany([one(1), { objective: 'price', inputs: { y: ['a'] } }, one(3)])
    expect(results.map((result) => (result instanceof ScoreError ? result.message : valueIn(result)))).toEqual([
      1,
      'INVALID_ARGUMENT: no x',
      3,
    ])
    expect(results[1]).toMatchObject({ code: 'INVALID_ARGUMENT', route })
    expect(await client.scoreMany([])).toEqual([])
    if (transport === 'http') expect(server.headers).toHaveLength(1)
  })

  test('a refusal has its code, its message and its route', async () => {
    const replies: Partial<ReplyMessage>[] = [
      { code: 'RESOURCE_EXHAUSTED', message: 'send it later' },
      { code: 'PERMISSION_DENIED', message: 'no' },
      { code: 'NOT_FOUND', message: 'objective: hash 1 is not served here', route: null },
    ]
    const server = await serving((asked) => replyTo(asked, replies.shift()))
    const client = clientOf(server.port, { transport })
    const full = await errorOf(client.score(one(1)))
    expect(full).toMatchObject({ name: 'ScoreError', code: 'RESOURCE_EXHAUSTED', route, retryable: true })
    expect(full.message).toBe('RESOURCE_EXHAUSTED: send it later')
    expect(await errorOf(client.score(one(1)))).toMatchObject({ code: 'PERMISSION_DENIED', retryable: false })
    const unknown = await errorOf(client.score(one(1)))
    expect(unknown).toMatchObject({ code: 'NOT_FOUND', route: null })
    expect(unknown.message).toBe("NOT_FOUND: 'price': objective: hash 1 is not served here")
  })

  test('no answer in time is DEADLINE_EXCEEDED, and harms no other', async () => {
    const server = await serving((asked) => (asked.deadlineUs === 20_000 ? null : echo(asked)))
    const client = clientOf(server.port, { transport, timeoutMs: 5000 })
    const late = errorOf(client.score({ ...one(1), deadlineMs: 20 }))
    expect(valueIn(await client.score(one(2)))).toBe(2)
    expect(await late).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: 'DEADLINE_EXCEEDED: no answer within 120 ms',
    })
    expect(valueIn(await client.score(one(3)))).toBe(3)
  })

  test('without a deadline the client has one of its own', async () => {
    const server = await serving(() => null)
    const error = await errorOf(clientOf(server.port, { transport, timeoutMs: 30 }).score(one(1)))
    expect(error.message).toBe('DEADLINE_EXCEEDED: no answer within 30 ms')
  })

  test.each(['127.0.0.1', 'localhost'])('no server at %s is UNAVAILABLE with its address', async (host) => {
    const server = await FakeServer.start(echo)
    const { port } = server
    await server.close()
    const client = clientOf(port, { transport, url: `http://${host}:${port}` })
    const error = await errorOf(client.score(one(1)))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true, route: null })
    expect(error.message).toContain(`${host}:${port}`)
    expect(error.message).toContain('ECONNREFUSED')
  })

  test('a server that goes away rejects what is in flight; one that comes back is found again', async () => {
    const first = await FakeServer.start(() => null)
    const { port } = first
    const client = clientOf(port, { transport, retries: 0 })
    const pending = [errorOf(client.score(one(1))), errorOf(client.score(one(2)))]
    while (first.asked.length < 2) await sleep(5)
    await first.close()
    for (const error of await Promise.all(pending)) {
      expect(error.code).toBe('UNAVAILABLE')
      expect(error.message).toContain(`127.0.0.1:${port}`)
    }
    const second = await FakeServer.start(echo, port)
    opened.push(second)
    expect(valueIn(await client.score(one(3)))).toBe(3)
  })

  test('a reply that is damaged is DATA_LOSS', async () => {
    const server = await serving((asked) => {
      const reply = new Uint8Array(echo(asked))
      // Its name stays a name, its dtype is none there is.
      reply[reply.lastIndexOf(2)] = 99
      return reply
    })
    const client = clientOf(server.port, { transport })
    const error = await errorOf(client.score(one(1)))
    expect(error).toMatchObject({ code: 'DATA_LOSS', route: null })
    expect(error.message).toContain('99 is not a dtype')
    const [result] = await client.scoreMany([one(1)])
    expect(result).toMatchObject({ code: 'DATA_LOSS' })
  })

  test('closing rejects what is in flight and all that follows, and holds nothing', async () => {
    const server = await serving(() => null)
    const held = tcpSockets()
    const client = clientOf(server.port, { transport, sockets: 2 })
    const pending = [1, 2, 3, 4].map((value) => errorOf(client.score(one(value))))
    while (server.asked.length < 2) await sleep(5)
    await client.close()
    for (const error of await Promise.all(pending)) expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(await errorOf(client.score(one(5)))).toMatchObject({
      message: 'UNAVAILABLE: the client is closed',
    })
    await client.close()
    for (let turn = 0; turn < 100 && tcpSockets() > held; turn++) await sleep(10)
    expect(tcpSockets()).toBeLessThanOrEqual(held)
  })

  test('a client that never asked closes', async () => {
    await clientOf(1, { transport }).close()
  })

  test('wrong inputs are a TypeError with the name of the column, and nothing is sent', async () => {
    const server = await serving()
    const client = clientOf(server.port, { transport })
    const wrong = { objective: 'price', inputs: { good: ['a'], title: [1, 2] as never } }
    for (const asked of [client.score(wrong), client.scoreMany([one(1), wrong])]) {
      const error: unknown = await asked.catch((error: unknown) => error)
      expect(error).toBeInstanceOf(TypeError)
      expect((error as Error).message).toMatch(/^inputs\.title: a list holds strings, Buffers or typed arrays/)
    }
    expect(server.asked.every(({ inputs }) => inputs[0]!.name === 'x')).toBe(true)
  })
})

describe.each(transports)('over %s, sent again', (transport) => {
  test('what is UNAVAILABLE, with what is left of its time', async () => {
    let asks = 0
    const server = await serving((asked) => (++asks === 1 ? replyTo(asked, unavailable) : echo(asked)))
    const client = clientOf(server.port, { transport })
    expect(valueIn(await client.score({ ...one(7), deadlineMs: 5_000 }))).toBe(7)
    const [first, second] = server.asked
    expect(first!.deadlineUs).toBe(5_000_000)
    expect(second!.deadlineUs).toBeLessThan(5_000_000)
    expect(second!.id).not.toBe(first!.id)
    expect(await client.resolve({ objective: 'price' }).catch((error: ScoreError) => error.code)).toBe('DATA_LOSS')
  })

  test('as often as it may, and never otherwise', async () => {
    const server = await serving((asked) => replyTo(asked, unavailable))
    for (const [retries, times] of [
      [undefined, 3],
      [0, 1],
      [1, 2],
    ] as const) {
      const client = clientOf(server.port, { transport, ...(retries === undefined ? {} : { retries }) })
      const before = server.asked.length
      expect(await errorOf(client.score(one(1)))).toMatchObject({ code: 'UNAVAILABLE' })
      expect(server.asked.length - before).toBe(times)
    }
  })

  test.each(['RESOURCE_EXHAUSTED', 'INTERNAL', 'DEADLINE_EXCEEDED', 'INVALID_ARGUMENT'] as const)(
    '%s is not',
    async (code) => {
      const server = await serving((asked) => replyTo(asked, { code, message: 'no', route: null }))
      expect(await errorOf(clientOf(server.port, { transport }).score(one(1)))).toMatchObject({ code })
      expect(server.asked).toHaveLength(1)
    },
  )

  test('to the next address, when one breaks or is not there', async () => {
    const breaking = await serving((_, socket) => {
      if (socket === null) void breaking.close()
      else socket.terminate()
      return null
    })
    const gone = await FakeServer.start(echo)
    const { port } = gone
    await gone.close()
    const good = await serving()
    const url = [breaking.port, port, good.port].map((at) => `http://127.0.0.1:${at}`)
    const client = clientOf(0, { transport, url })
    expect(valueIn(await client.score(one(1)))).toBe(1)
    expect(valueIn(await client.score(one(2)))).toBe(2)
    expect(breaking.asked).toHaveLength(1)
    expect(good.asked).toHaveLength(2)
  })

  test('of many at once, those that were UNAVAILABLE', async () => {
    const times = new Map<number, number>()
    const server = await serving((asked) => {
      const x = new Float64Array(new Uint8Array(asked.inputs[0]!.data).buffer)[0]!
      times.set(x, (times.get(x) ?? 0) + 1)
      const answer = [echo, times.get(x) === 1 ? refuse : echo, refuse, fail][x]!
      return answer(asked)
    })
    const refuse = (asked: Asked): Uint8Array => replyTo(asked, unavailable)
    const fail = (asked: Asked): Uint8Array => replyTo(asked, { code: 'INTERNAL', message: 'no' })
    const answers = await clientOf(server.port, { transport }).scoreMany([0, 1, 2, 3].map(one))
    expect(answers.slice(0, 2).map((answer) => valueIn(answer as ScoreAnswer))).toEqual([0, 1])
    expect(answers.slice(2).map((answer) => (answer as ScoreError).code)).toEqual(['UNAVAILABLE', 'INTERNAL'])
    expect([...times].sort()).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 1],
    ])
  })
})

test.each([[[]], [['http://127.0.0.1:1', 'https://127.0.0.1:1']]])('no addresses to ask: %j', (url) => {
  expect(() => clientOf(0, { url })).toThrow(TypeError)
})

describe('over WebSocket', () => {
  test('a server that goes away answers what it has; what comes next takes another connection', async () => {
    const held: [Asked, WebSocket][] = []
    const told: Promise<unknown>[] = []
    const server = await serving((asked, socket) => {
      if (held.length === 2) return echo(asked)
      held.push([asked, socket!])
      if (held.length === 2) {
        // It has read the ping when it has answered it.
        told.push(once(socket!, 'pong'))
        socket!.ping(goingAway)
      }
      return null
    })
    const client = clientOf(server.port, { retries: 0 })
    const waiting = [client.score(one(1)), client.score(one(2))]
    while (told.length === 0) await sleep(5)
    await told[0]
    const [, leaving] = held[0]!
    expect(valueIn(await client.score(one(3)))).toBe(3)
    expect(server.connections).toBe(2)
    const closed = once(leaving, 'close')
    for (const [asked, socket] of held) socket.send(echo(asked))
    expect((await Promise.all(waiting)).map(valueIn)).toEqual([1, 2])
    // It is closed by the client, which needs it no more.
    await closed
    expect(valueIn(await client.score(one(4)))).toBe(4)
    expect(server.connections).toBe(2)
  })

  test('a ping of any other kind is a ping', async () => {
    const server = await serving((asked, socket) => {
      socket!.ping()
      socket!.ping('going')
      return echo(asked)
    })
    const client = clientOf(server.port)
    for (const value of [1, 2]) expect(valueIn(await client.score(one(value)))).toBe(value)
    expect(server.connections).toBe(1)
  })

  test('answers in another order find their requests', async () => {
    const waiting: Asked[] = []
    const server = await serving((asked, socket) => {
      waiting.push(asked)
      if (waiting.length === 5) for (const asked of waiting.reverse()) socket!.send(echo(asked))
      return null
    })
    const client = clientOf(server.port)
    const answers = await Promise.all([1, 2, 3, 4, 5].map((value) => client.score(one(value))))
    expect(answers.map(valueIn)).toEqual([1, 2, 3, 4, 5])
    expect(server.connections).toBe(1)
  })

  test('what nobody waits for is let go', async () => {
    const server = await serving((asked, socket) => {
      socket!.send('text')
      socket!.send(Buffer.alloc(0))
      socket!.send(Buffer.from('not a reply at all'))
      socket!.send(replyTo({ ...asked, id: asked.id + 1000n }, { code: 'INTERNAL' }))
      socket!.send(echo(asked))
      return replyTo(asked, { code: 'INTERNAL' })
    })
    const client = clientOf(server.port)
    expect(valueIn(await client.score(one(1)))).toBe(1)
    expect(valueIn(await client.score(one(2)))).toBe(2)
  })

  test('after the server closed the socket the next request opens another', async () => {
    let connections = 0
    const server = await serving((asked, socket) => {
      if (connections++ > 0) return echo(asked)
      socket!.close(1001)
      return null
    })
    const client = clientOf(server.port, { retries: 0 })
    const error = await errorOf(client.score(one(1)))
    expect(error.message).toBe(`UNAVAILABLE: the connection to ws://127.0.0.1:${server.port}/v1/stream closed (1001)`)
    expect(valueIn(await client.score(one(2)))).toBe(2)
    expect(server.connections).toBe(2)
  })

  test('closing while it waits to connect again ends the wait', async () => {
    const gone = await FakeServer.start(echo)
    const { port } = gone
    await gone.close()
    const client = clientOf(port, { retries: 0 })
    expect(await errorOf(client.score(one(1)))).toMatchObject({ code: 'UNAVAILABLE' })
    const back = await FakeServer.start(echo, port)
    opened.push(back)
    const waiting = errorOf(client.score(one(2)))
    await client.close()
    expect((await waiting).message).toBe('UNAVAILABLE: the client is closed')
    // Longer than the first back-off.
    await sleep(120)
    expect(back.connections).toBe(0)
  })

  test('an upgrade that is refused is UNAVAILABLE with the address', async () => {
    const http = createServer((_, res) => res.writeHead(404).end()).listen(0, '127.0.0.1')
    await once(http, 'listening')
    opened.push({ close: () => new Promise((resolve) => http.close(() => resolve())) })
    const { port } = http.address() as AddressInfo
    const error = await errorOf(clientOf(port).score(one(1)))
    expect(error.message).toBe(`UNAVAILABLE: ws://127.0.0.1:${port}/v1/stream: the server answered 404`)
  })

  test('an upgrade that is never answered runs into the deadline, and the client closes', async () => {
    const sockets: Socket[] = []
    const tcp = createTcpServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
    await once(tcp, 'listening')
    opened.push({
      close: () => {
        for (const socket of sockets) socket.destroy()
        return new Promise((resolve) => tcp.close(() => resolve()))
      },
    })
    const client = clientOf((tcp.address() as AddressInfo).port)
    expect(await errorOf(client.score({ ...one(1), deadlineMs: 10 }))).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    const inFlight = errorOf(client.score(one(2)))
    await client.close()
    expect(await inFlight).toMatchObject({ code: 'UNAVAILABLE' })
  })
})

describe('over HTTP', () => {
  test('what is no reply is UNKNOWN, with what came', async () => {
    const server = await serving(() => '<html>Bad Gateway</html>')
    const error = await errorOf(clientOf(server.port, { transport: 'http' }).score(one(1)))
    expect(error.code).toBe('UNKNOWN')
    expect(error.message).toMatch(/\/v1\/score answered 502: <html>Bad Gateway<\/html>$/)
  })

  test('a list that is refused whole refuses each with the reason', async () => {
    const server = await serving(() => null)
    const results = await clientOf(server.port, { transport: 'http' }).scoreMany([one(1), one(2)])
    expect(results).toHaveLength(2)
    for (const result of results)
      expect(result).toMatchObject({ code: 'INVALID_ARGUMENT', message: 'INVALID_ARGUMENT: items: too many' })
  })

  test('an answer that stops halfway runs into the deadline', async () => {
    const http = createServer((_, res) => {
      res.writeHead(200, { 'content-type': flatBuffers, 'content-length': 100 })
      res.write('half')
    }).listen(0, '127.0.0.1')
    await once(http, 'listening')
    opened.push({
      close: () => {
        http.closeAllConnections()
        return new Promise((resolve) => http.close(() => resolve()))
      },
    })
    const client = clientOf((http.address() as AddressInfo).port, { transport: 'http', timeoutMs: 50 })
    expect(await errorOf(client.score(one(1)))).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
  })
})

describe('columns', () => {
  /** What comes back when the server gives back what it got, and how it went over the wire. */
  async function roundTrip(value: InputValue): Promise<{ sent: WireColumn; output: unknown }> {
    const server = await serving()
    const { outputs } = await clientOf(server.port).score({ objective: 'price', inputs: { x: value } })
    return { sent: server.asked[0]!.inputs[0]!, output: outputs.x }
  }

  test.each<[DTypeName, number[], InputValue]>([
    ['f32', [2], Float32Array.of(0.5, -1)],
    ['f64', [2], Float64Array.of(0.1, NaN)],
    ['i8', [2], Int8Array.of(-128, 127)],
    ['u8', [2], Uint8Array.of(0, 255)],
    ['i16', [2], Int16Array.of(-32768, 32767)],
    ['u16', [2], Uint16Array.of(0, 65535)],
    ['i32', [2], Int32Array.of(-(2 ** 31), 2 ** 31 - 1)],
    ['u32', [2], Uint32Array.of(0, 2 ** 32 - 1)],
    ['i64', [2], BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)],
    ['u64', [2], BigUint64Array.of(0n, 2n ** 64n - 1n)],
    ['string', [2], ['', 'é𝛼']],
    ['bytes', [2], [Buffer.of(0, 255), Buffer.of()]],
  ])('%s comes back as it went', async (dtype, shape, value) => {
    const { sent, output } = await roundTrip(value)
    expect(sent).toMatchObject({ dtype, shape })
    if (dtype === 'bytes') expect((output as Uint8Array[]).map((row) => [...row])).toEqual([[0, 255], []])
    else expect(output).toEqual(value)
  })

  test.each<[string, InputValue, DTypeName, number[], unknown]>([
    ['bool', { dtype: 'bool', values: [true, false] }, 'bool', [2], Uint8Array.of(1, 0)],
    ['numbers with a dtype', { dtype: 'i16', values: [1, -2] }, 'i16', [2], Int16Array.of(1, -2)],
    ['numbers as u64', { dtype: 'u64', values: [1, 2n] as never }, 'u64', [2], BigUint64Array.of(1n, 2n)],
    [
      'a shape',
      { dtype: 'f32', values: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3] },
      'f32',
      [2, 3],
      Float32Array.of(1, 2, 3, 4, 5, 6),
    ],
    ['one string', 'account-42', 'string', [1], ['account-42']],
    ['strings with a dtype', { dtype: 'string', values: ['a', 'b'] }, 'string', [2], ['a', 'b']],
    ['no rows', new Float32Array(0), 'f32', [0], new Float32Array(0)],
  ])('%s', async (_, value, dtype, shape, expected) => {
    const { sent, output } = await roundTrip(value)
    expect(sent).toMatchObject({ dtype, shape })
    expect(output).toEqual(expected)
  })

  test('a part of an array is sent alone', async () => {
    const { sent } = await roundTrip(Float32Array.of(1, 2, 3, 4).subarray(1, 3))
    expect(sent.data).toEqual(new Uint8Array(Float32Array.of(2, 3).buffer))
  })

  test('lists of numbers are ragged, each row as long as it is', async () => {
    const server = await serving((asked) => replyTo(asked))
    await clientOf(server.port).score({
      objective: 'price',
      inputs: { ids: [Int32Array.of(1, 2), Int32Array.of(), Int32Array.of(3)] },
    })
    const [ids] = server.asked[0]!.inputs
    expect(ids).toMatchObject({ dtype: 'i32', shape: [3], offsets: Uint32Array.of(0, 8, 8, 12) })
    expect(ids!.data).toEqual(new Uint8Array(Int32Array.of(1, 2, 3).buffer))
  })

  test.each<[string, unknown, RegExp]>([
    ['a list of numbers', [1, 2], /^inputs\.x: a list holds strings, Buffers or typed arrays of one type/],
    ['a list of two types', [Int8Array.of(1), Int16Array.of(1)], /^inputs\.x: a list holds/],
    ['a number', 7, /^inputs\.x: /],
    ['null', null, /^inputs\.x: /],
    ['nothing', undefined, /^inputs\.x: /],
    ['a DataView', new DataView(new ArrayBuffer(8)), /^inputs\.x: a DataView is no column/],
    ['an unknown dtype', { dtype: 'float', values: [1] }, /^inputs\.x: there is no dtype 'float'/],
    ['a dtype of the prototype', { dtype: 'constructor', values: [1] }, /^inputs\.x: there is no dtype 'constructor'/],
    ['no values', { dtype: 'f32' }, /^inputs\.x: /],
    ['numbers as strings', { dtype: 'string', values: [1] }, /^inputs\.x: /],
    ['another array than its dtype', { dtype: 'f32', values: Float64Array.of(1) }, /^inputs\.x: .*Float64Array.*f32/],
    ['text as f32', { dtype: 'f32', values: ['one'] }, /^inputs\.x: /],
    ['a part as i64', { dtype: 'i64', values: [1.5] }, /^inputs\.x: /],
    ['a shape of no whole rows', { dtype: 'f32', values: [1, 2, 3], shape: [2] }, /^inputs\.x: 3 values.*\[2\]/],
  ])('%s is a TypeError that names the column', async (_, value, message) => {
    const client = clientOf(1)
    const error: unknown = await client
      .score({ objective: 'price', inputs: { x: value as never } })
      .catch((error: unknown) => error)
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(message)
  })
})
