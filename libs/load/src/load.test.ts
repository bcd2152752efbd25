import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocketServer } from 'ws'
import { encodeRecording, encodeReply, encodeRequest, RequestView, verifyRequest } from '@millrace/wire'
import { RunningLoad, type Load, type LoadPart } from './load'
import { latencyOf, sortsOf } from './tally'

const folder = mkdtempSync(join(tmpdir(), 'millrace-load-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Requests of different lengths, so that no frame's place follows from another's. */
function traffic(name: string, sizes: readonly number[]): string {
  const path = join(folder, name)
  const requests = sizes.map((size, i) => {
    const inputs = [{ name: 'bytes', dtype: 'u8' as const, data: new Uint8Array(size).fill(i) }]
    return {
      arrivalUs: i * 1000,
      message: encodeRequest({ id: 1n, objective: 'any', subject: `account-${i}`, inputs }),
    }
  })
  writeFileSync(path, encodeRecording({ beganMs: 0, requests }))
  return path
}

const alone = (port: number): LoadPart => ({ ports: [port], part: 0, parts: 1, napMs: 0.1 })

/** Runs a load until it has as many replies as wanted. */
async function run(load: Load, port: number, replies: number) {
  const failures: Error[] = []
  const running = await RunningLoad.start(load, alone(port), (error) => failures.push(error))
  running.begin()
  while (running.replies < replies && failures.length === 0) await sleep(5)
  const loaded = running.end()
  running.close()
  expect(failures).toEqual([])
  return loaded
}

describe('over HTTP', () => {
  /** What each request is answered with; nothing is answered before the gate opens. */
  let status: (n: number) => number
  let gate: Promise<void>
  let server: Server
  let requests: number
  let port: number
  beforeEach(async () => {
    requests = 0
    status = () => 200
    gate = Promise.resolve()
    server = createServer((req, res) => {
      const n = requests++
      req.resume().on('end', () => {
        // Every other answer in chunks.
        void gate.then(() =>
          n % 2 === 0 ? res.writeHead(status(n)).end('good') : res.writeHead(status(n)).write('good') && res.end(),
        )
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  afterEach(() => {
    server.closeAllConnections()
    server.close()
  })

  const load = (more: Partial<Load>): Load => ({
    ...{ transport: 'http', sockets: 4, inFlight: 1, traffic: traffic('http', [3, 90, 400]) },
    ...more,
  })

  it('a closed loop keeps one request on each socket', async () => {
    const { counted } = await run(load({}), port, 200)
    const { good } = sortsOf(counted)
    expect(good).toBeGreaterThanOrEqual(200)
    expect(requests - good).toBeLessThanOrEqual(4)
  })

  it('counts refusals and errors apart, and only what is good has a time', async () => {
    status = (n) => [200, 429, 503, 504, 400, 500, 404][n % 7]!
    const { counted } = await run(load({ sockets: 1 }), port, 70)
    expect(Object.keys(counted.codes).sort()).toEqual(
      [
        'DEADLINE_EXCEEDED',
        'INVALID_ARGUMENT',
        'NOT_FOUND',
        'OK',
        'RESOURCE_EXHAUSTED',
        'UNAVAILABLE',
        'UNKNOWN',
      ].sort(),
    )
    const { good, refused, errors } = sortsOf(counted)
    expect([good, refused, errors].map((n) => n / (good + refused + errors))).toEqual([
      expect.closeTo(1 / 7, 1),
      expect.closeTo(3 / 7, 1),
      expect.closeTo(3 / 7, 1),
    ])
  })

  it('in an open loop everything that arrives during a stall sees it', async () => {
    const stallMs = 400
    gate = sleep(stallMs)
    const arrivals = { kind: 'even', perSecond: 500 } as const
    const { counted, unsent } = await run(load({ arrivals }), port, 300)
    // 200 were due during the stall, of which four were on a socket: their times go down from 400 ms evenly.
    const { p50, max } = latencyOf(counted)
    expect(max).toBeGreaterThan((stallMs - 50) * 1000)
    expect(p50).toBeGreaterThan(50_000)
    expect(unsent).toBeGreaterThanOrEqual(0)
    // A closed loop of the same server notices it on four.
    gate = sleep(stallMs)
    const closed = await run(load({}), port, 300)
    expect(latencyOf(closed.counted).p50).toBeLessThan(50_000)
  })

  it('fails when the server closes its connections', async () => {
    const failures: Error[] = []
    const running = await RunningLoad.start(load({}), alone(port), (error) => failures.push(error))
    server.closeAllConnections()
    while (failures.length === 0) await sleep(5)
    running.close()
    expect(failures[0]!.message).toMatch(/closed a connection|ECONNRESET/)
  })
})

describe('over WebSocket', () => {
  let sockets: WebSocketServer
  let port: number
  /** Ids in flight on each connection: none is used twice at once. */
  let most: number
  const view = new RequestView()
  const subjects = new Set<string>()
  beforeEach(async () => {
    most = 0
    subjects.clear()
    sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    sockets.on('connection', (socket) => {
      const inFlight = new Map<number, Buffer>()
      socket.on('message', (data: Buffer) => {
        const message = new Uint8Array(data)
        expect(verifyRequest(message.buffer, 0, message.length, view)).toBe(true)
        subjects.add(Buffer.from(message.buffer, view.subjectBegin, view.subjectLength).toString())
        expect(inFlight.has(view.idLo)).toBe(false)
        const code = view.idLo % 5 === 0 ? 'RESOURCE_EXHAUSTED' : 'OK'
        const message_ = code === 'OK' ? '' : 'the queue is full'
        const reply = encodeReply({
          id: BigInt(view.idLo),
          code,
          message: message_,
          route: null,
          outputs: [],
          timings: null,
        })
        inFlight.set(view.idLo, Buffer.from(reply))
        most = Math.max(most, inFlight.size)
        // The last one first, all in one go.
        if (inFlight.size === 1)
          setImmediate(() => {
            const replies = [...inFlight.values()].reverse()
            inFlight.clear()
            for (const one of replies) socket.send(one)
            socket.ping()
          })
      })
    })
    await new Promise((resolve) => sockets.once('listening', resolve))
    port = (sockets.address() as AddressInfo).port
  })
  afterEach(() => {
    for (const socket of sockets.clients) socket.terminate()
    sockets.close()
  })

  it.each([
    ['a closed loop', undefined],
    ['an open loop', { kind: 'poisson', perSecond: 2000 }],
  ] as const)(
    '%s matches replies by their ids, whatever their order and the length of their frames',
    async (_, arrivals) => {
      const sizes = [...Array.from({ length: 12 }, (__, i) => i * 40), 70_000]
      const load = { transport: 'websocket', sockets: 2, inFlight: 5, traffic: traffic('ws', sizes), arrivals } as const
      const { counted } = await run(load, port, 500)
      const { good, refused, errors } = sortsOf(counted)
      expect(errors).toBe(0)
      expect(good).toBeGreaterThan(300)
      expect(refused).toBeGreaterThan(20)
      expect(most).toBeLessThanOrEqual(5)
      // Whole rounds of five only, in a closed loop.
      expect(subjects.size).toBe(arrivals === undefined ? 10 : 13)
    },
  )
})
