import { readdirSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { ScoreError } from '@millrace/client'
import { affinityOf } from '@millrace/pool'
import { decodeReply, encodeRequestList } from '@millrace/wire'
import { check, crashCase, echoCase, imageCase, plainOutputs } from '../support/load-cases'
import { echoMessage, message, repliesById } from '../support/messages'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { http, serve, stopServed, until, type Served } from '../support/served'

/* What both HTTP servers promise, and where the threads behind them run. */

const random = new Random()

afterAll(stopServed)

describe.each(['uws', 'node'])('MILLRACE_TRANSPORT=%s', (transport) => {
  let served: Served
  beforeAll(async () => {
    served = await serve({ MILLRACE_TRANSPORT: transport, MILLRACE_POOL_CPU_THREADS: '2' })
  })
  afterEach(() => served.idle())

  test.each(['websocket', 'http'] as const)('%s: answers, refusals, lists', async (kind) => {
    const client = served.client({ transport: kind })
    const cases = [echoCase(random, 1), echoCase(random, 30), crashCase(random, 'refuse', 1), imageCase(random, 2)]
    const requests = cases.map(({ objective, inputs }) => ({ objective, inputs, timings: true }))
    for (const [i, one] of cases.entries()) {
      const answer = await client.score(requests[i]!).catch((error: ScoreError) => error)
      if (answer instanceof ScoreError) expect(answer.code).toBe(one.expected.code)
      else {
        check(one, { code: 'OK', outputs: plainOutputs(answer.outputs) })
        expect(answer.route).toMatchObject({ workflow: one.objective, version: 1, rule: 'default', cell: null })
        expect(answer.timings!.total).toBeGreaterThanOrEqual(answer.timings!.queue)
      }
    }
    const answers = await client.scoreMany(requests)
    answers.forEach((answer, i) =>
      check(
        cases[i]!,
        answer instanceof ScoreError
          ? { code: answer.code, outputs: {} }
          : { code: 'OK', outputs: plainOutputs(answer.outputs) },
      ),
    )
    expect(await client.resolve({ objective: 'echo' })).toMatchObject({ workflow: 'echo', version: 1 })
    await expect(client.score({ objective: 'nothing', inputs: {} })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('an empty list is answered with an empty list', async () => {
    const { status, body } = await served.json([])
    expect([status, body]).toEqual([200, []])
    const binary = await served.post('/v1/score', encodeRequestList([]), 'application/x-flatbuffers')
    expect(binary.status).toBe(200)
  })

  test('many requests on one kept connection, their bodies in pieces of any size', async () => {
    const body = Buffer.from(echoMessage(5n))
    for (const cut of [1, 3, 4, 17, body.length - 1]) {
      const answer = await new Promise<Buffer>((resolve, reject) => {
        const headers = { 'content-type': 'application/x-flatbuffers', 'content-length': body.length }
        const req = request(
          { port: served.server.port, method: 'POST', path: '/v1/score', headers, agent: false },
          (res) => {
            const pieces: Buffer[] = []
            res.on('data', (piece: Buffer) => pieces.push(piece))
            res.on('end', () => resolve(Buffer.concat(pieces)))
          },
        )
        req.on('error', reject)
        req.setNoDelay(true)
        // The first piece has left before the second is written.
        req.write(body.subarray(0, cut), () => setImmediate(() => req.end(body.subarray(cut))))
      })
      expect(decodeReply(answer)).toMatchObject({ id: 5n, code: 'OK' })
    }
  })

  test('a large answer arrives whole', async () => {
    const one = echoCase(random, 5000)
    for (const kind of ['websocket', 'http'] as const) {
      const { outputs } = await served.client({ transport: kind }).score({ objective: 'echo', inputs: one.inputs })
      check(one, { code: 'OK', outputs: plainOutputs(outputs) })
    }
  })

  test('sockets that close with requests in flight disturb nobody, and their slabs come back', async () => {
    const stays = await RawSocket.open(served.server.port)
    const leaving = await Promise.all(Array.from({ length: 6 }, () => RawSocket.open(served.server.port)))
    const slow = (id: number): Uint8Array => message('slow', { ms: Float32Array.of(20) }, { id: BigInt(id) })
    const aborted = Array.from({ length: 4 }, (_, i) => abortedPost(served, slow(i)))
    for (let round = 0; round < 5; round++)
      for (const [i, socket] of leaving.entries())
        socket.send(encodeRequestList([slow(i), echoMessage(BigInt(i)), slow(i)]))
    for (let id = 1; id <= 20; id++) stays.send(id % 2 === 0 ? slow(id) : echoMessage(BigInt(id)))
    await until('they are in flight', async () => {
      const { requestsInFlight } = await served.lane()
      return requestsInFlight > 10 || String(requestsInFlight)
    })
    for (const abort of aborted) (await abort)()
    leaving.forEach((socket, i) => void (i % 2 === 0 ? socket.terminate() : socket.close()))
    const replies = repliesById(await stays.received(20))
    expect(replies.map(({ id, code }) => [id, code])).toEqual(
      Array.from({ length: 20 }, (_, i) => [BigInt(i + 1), 'OK']),
    )
    await Promise.all(leaving.map((socket) => socket.closed))
    await served.idle()
    await stays.close()
    // Those of the other tests' clients are still there.
    await until('the lane has forgotten them', async () => {
      const { sockets } = await served.lane()
      return sockets.websocket <= 2 || String(sockets.websocket)
    })
    expect((await served.lane()).pools[0]).toMatchObject({ restarts: 0 })
  })

  test.each(['websocket', 'http'] as const)('a stop waits until a large answer over %s is read', async (kind) => {
    const stopping = await serve({ MILLRACE_TRANSPORT: transport })
    const rows = 10_000
    const request = message('echo', {
      id: BigUint64Array.of(9n),
      tag: 't',
      key: new BigUint64Array(rows),
      text: new Array<string>(rows).fill('x'.repeat(800)),
    })
    const reader = await LateReader.send(stopping.server.port, kind, request)
    await until('it is answered', async () => {
      const { requests } = await stopping.lane()
      return requests.some(({ code, count }) => code === 'OK' && count === 1) || 'not yet'
    })
    let stopped = false
    const stop = stopping.server.stop().then(() => (stopped = true))
    await until('the lane drains', async () => {
      const lanes = await stopping.server.snapshots()
      return lanes.every(({ notReady }) => notReady.includes('the lane drains')) || 'not yet'
    })
    expect(stopped).toBe(false)
    const reply = decodeReply(await reader.read())
    expect(reply).toMatchObject({ id: 1n, code: 'OK' })
    expect(reply.outputs.find(({ name }) => name === 'text')!.data.length).toBe(rows * 802)
    await stop
  })

  test('what it does not serve', async () => {
    const { port } = served.server
    const get = await http(port, 'GET', '/v1/score')
    expect([get.status, JSON.parse(get.body.toString('utf8'))]).toEqual([
      405,
      { code: 'NOT_FOUND', message: '/v1/score: use POST, not GET' },
    ])
    const other = await http(port, 'POST', '/v2/score', '{}')
    expect(other.status).toBe(404)
    expect(other.body.toString('utf8')).toContain('there are POST /v1/score, POST /v1/resolve and GET /v1/stream')
    expect((await http(port, 'GET', '/v1/stream')).status).toBeGreaterThanOrEqual(400)
  })
})

test('threads are pinned to the CPUs of their pool, as the kernel tells', async () => {
  const served = await serve({
    MILLRACE_PINNING: 'cpu',
    MILLRACE_POOL_CPU_CPUS: '0',
    MILLRACE_POOL_CPU_THREADS: '2',
    MILLRACE_LOG_LEVEL: 'silent',
  })
  const { pid } = await served.lane()
  const only0 = threadsOf(pid).filter((tid) => affinityOf(pid, tid)?.join() === '0')
  // The pool's two, and whatever their engines started; the front thread stays free.
  expect(only0.length).toBeGreaterThanOrEqual(2)
  expect(only0).not.toContain(pid)
  const one = echoCase(random, 3)
  const { outputs } = await served.client().score({ objective: 'echo', inputs: one.inputs })
  check(one, { code: 'OK', outputs: plainOutputs(outputs) })
})

/** Linux shows the threads of a process as folders. */
function threadsOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map(Number)
}

/** A POST that is on its way; resolves with what breaks its connection off. */
function abortedPost(served: Served, body: Uint8Array): Promise<() => void> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/x-flatbuffers', 'content-length': body.length }
    const req = request({ port: served.server.port, method: 'POST', path: '/v1/score', headers, agent: false })
    // Broken off, as asked.
    req.on('error', () => undefined)
    req.end(body, () => resolve(() => req.destroy()))
  })
}

/** Asks for one thing, and reads nothing of the answer before it is told to. */
class LateReader {
  private constructor(
    private readonly socket: Socket,
    private readonly payloadOf: (bytes: Buffer) => Buffer | null,
  ) {}

  static async send(port: number, kind: 'websocket' | 'http', request: Uint8Array): Promise<LateReader> {
    const socket = connect(port, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    if (kind === 'http') {
      const head = `POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-flatbuffers\r\n`
      socket.write(Buffer.concat([Buffer.from(`${head}content-length: ${request.length}\r\n\r\n`), request]))
      socket.pause()
      return new LateReader(socket, (bytes) => {
        const begin = bytes.indexOf('\r\n\r\n') + 4
        const length = Number(/content-length: (\d+)/i.exec(bytes.toString('latin1', 0, begin))?.[1])
        return bytes.length < begin + length ? null : bytes.subarray(begin, begin + length)
      })
    }
    const head = 'GET /v1/stream HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n'
    socket.write(`${head}sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.pause()
    // A binary frame with a 64-bit length and a mask of zeros (RFC 6455, 5.2).
    const frame = Buffer.alloc(14)
    frame.writeUInt16BE(0x82ff, 0)
    frame.writeBigUInt64BE(BigInt(request.length), 2)
    socket.write(Buffer.concat([frame, request]))
    return new LateReader(socket, (bytes) => {
      const end = 10 + Number(bytes.length < 10 ? 0n : bytes.readBigUInt64BE(2))
      return bytes.length < end || end === 10 ? null : bytes.subarray(10, end)
    })
  }

  /** Rejects when the connection ends before the whole answer is there. */
  read(): Promise<Buffer> {
    const pieces: Buffer[] = []
    return new Promise((resolve, reject) => {
      this.socket.on('data', (piece: Buffer) => pieces.push(piece))
      this.socket.once('error', reject)
      this.socket.once('close', () => {
        const bytes = Buffer.concat(pieces)
        const payload = this.payloadOf(bytes)
        if (payload === null) reject(new Error(`the connection ended after ${bytes.length} bytes`))
        else resolve(payload)
      })
      this.socket.resume()
    })
  }
}
