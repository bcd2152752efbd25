import { readdirSync } from 'node:fs'
import { request } from 'node:http'
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
