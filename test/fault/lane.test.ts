import { decodeReply } from '@millrace/wire'
import { echoMessage, message } from '../support/messages'
import { readMetrics, wentBack, type MetricsPage } from '../support/metrics'
import { RawSocket } from '../support/raw-socket'
import { http, serve, stopServed, until, type Served } from '../support/served'

/* Lanes that crash, hang and stop, while others serve. */

const env = { MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_DRAIN_MS: '20000' }
const twoLanes = { ...env, MILLRACE_LANES: '2', MILLRACE_TRANSPORT: 'uws', MILLRACE_ARENA_BYTES: '32MiB' }

afterAll(stopServed)

describe('two lanes on one port', () => {
  let served: Served
  /** By lane, a connection that it got. */
  let sockets: RawSocket[]
  beforeAll(async () => {
    served = await serve(twoLanes)
    sockets = await oneSocketEach(served)
  })

  test('the kernel gives connections to both', async () => {
    const lanes = await served.server.snapshots()
    expect(lanes.map(({ lane }) => lane).sort()).toEqual([0, 1])
    expect(new Set(lanes.map(({ pid }) => pid)).size).toBe(2)
    for (const { sockets } of lanes) expect(sockets.websocket).toBeGreaterThan(0)
    for (const socket of sockets) expect(await ask(socket, echoMessage(5n))).toMatchObject({ code: 'OK', id: 5n })
  })

  test('one that crashes is started again; the other goes on, and no counter goes back', async () => {
    const [crashing, other] = sockets as [RawSocket, RawSocket]
    const pid = (await served.server.snapshots()).find(({ lane }) => lane === 0)!.pid
    const scrape = async (): Promise<MetricsPage> =>
      readMetrics((await served.admin('GET', '/metrics')).body.toString('utf8'))
    const first = await scrape()
    expect(sum(first, 'millrace_requests_total')).toBeGreaterThan(0)

    crashing.send(message('crash', { how: 'abort', value: Int32Array.of(1) }))
    expect(await crashing.closed).toBe(1006)
    const reasons = new Set<string>()
    let last = first
    let asked = 0
    await until('both lanes serve again', async () => {
      const ready = await served.admin('GET', '/v2/health/ready')
      if (ready.status === 503)
        for (const reason of (JSON.parse(ready.body.toString('utf8')) as { reasons: string[] }).reasons)
          reasons.add(reason)
      expect((await served.admin('GET', '/v2/health/live')).status).toBe(200)
      // The lane that is left answers all the while.
      expect(await ask(other, echoMessage(BigInt(++asked)))).toMatchObject({ code: 'OK', id: BigInt(asked) })
      const page = await scrape()
      expect(wentBack(last, page)).toEqual([])
      last = page
      return (ready.status === 200 && reasons.size > 0) || `ready says ${ready.status}`
    })
    expect([...reasons]).toEqual(['1 of 2 lanes do not serve'])
    expect(last.series.get('millrace_lane_restarts_total{lane="0"}')).toBe(1)
    expect(last.series.get('millrace_lane_restarts_total{lane="1"}')).toBe(0)
    expect(sum(last, 'millrace_requests_total')).toBe(sum(first, 'millrace_requests_total') + asked)
    expect((await served.server.snapshots()).find(({ lane }) => lane === 0)!.pid).not.toBe(pid)
  })

  test('each crash waits longer than the one before it', async () => {
    const [crashing] = (sockets = await oneSocketEach(served))
    crashing!.send(message('crash', { how: 'abort', value: Int32Array.of(1) }))
    await crashing!.closed
    await until('the lane is back', async () => (await served.server.snapshots()).length === 2 || 'one lane')
    expect(served.logged.filter((line) => line.includes('it is started again'))).toEqual([
      'lane 0 ended (SIGABRT); it is started again in 100 ms',
      'lane 0 ended (SIGABRT); it is started again in 200 ms',
    ])
    sockets = await oneSocketEach(served)
    for (const socket of sockets) expect(await ask(socket, echoMessage(1n))).toMatchObject({ code: 'OK' })
  })

  test('one that does not answer makes the server not ready, and takes no counter with it', async () => {
    const scrape = async (): Promise<MetricsPage> =>
      readMetrics((await served.admin('GET', '/metrics')).body.toString('utf8'))
    const before = await scrape()
    const { pid } = (await served.server.snapshots()).find(({ lane }) => lane === 1)!
    process.kill(pid, 'SIGSTOP')
    try {
      const [page, ready] = await Promise.all([scrape(), served.admin('GET', '/v2/health/ready')])
      expect(ready.status).toBe(503)
      expect(wentBack(before, page)).toEqual([])
      expect(page.series.get('millrace_lane_up{lane="1"}')).toBe(0)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await until('it answers again', async () => (await served.server.snapshots()).length === 2 || 'one lane')
    expect((await served.admin('GET', '/v2/health/ready')).status).toBe(200)
  })
})

test('a lane alone on a port that was chosen for it comes back on that port, while clients try', async () => {
  const served = await serve(env)
  const { port } = served.server
  const { pid } = await served.lane()
  process.kill(pid, 'SIGKILL')
  await until('it serves again', async () => {
    const socket = await RawSocket.open(port).catch(() => null)
    if (socket === null) return 'nobody listens'
    // It may be the last that the killed one took.
    const reply = await ask(socket, echoMessage(1n)).catch(() => null)
    if (reply === null) return 'it is gone'
    await socket.close()
    return reply.code === 'OK' || reply.code
  })
  expect((await served.lane()).pid).not.toBe(pid)
  expect(served.logged.filter((line) => line.includes('did not start'))).toEqual([])
})

test('a stop answers what was accepted: not ready first, nothing new, then gone', async () => {
  const served = await serve(twoLanes)
  const sockets = await oneSocketEach(served)
  for (const socket of sockets) socket.send(message('slow', { ms: Float32Array.of(1500) }, { id: 3n }))
  const overHttp = served.json({ objective: 'slow', inputs: { ms: [1500] } })
  await until('they are accepted', async () => {
    const accepted = (await served.server.snapshots()).reduce((sum, lane) => sum + lane.requestsInFlight, 0)
    return accepted === 3 || String(accepted)
  })
  const stopped = served.server.stop()
  await until('readiness says no', async () => {
    const { status, body } = await served.admin('GET', '/v2/health/ready')
    return (status === 503 && body.toString('utf8').includes('the lane drains')) || String(status)
  })
  expect((await served.admin('GET', '/v2/health/live')).status).toBe(200)
  await until('both lanes drain', async () => {
    const lanes = await served.server.snapshots()
    return (
      lanes.every(({ notReady }) => notReady.includes('the lane drains')) ||
      JSON.stringify(lanes.map((one) => one.notReady))
    )
  })
  for (const socket of sockets) socket.send(echoMessage(2n))
  await expect(RawSocket.open(served.server.port)).rejects.toThrow('ECONNREFUSED')
  for (const socket of sockets) {
    // The first was asked while the lane was found out.
    const [, late, accepted] = (await socket.received(3)).map((one) => decodeReply(one as Buffer))
    expect(late).toMatchObject({ id: 2n, code: 'UNAVAILABLE', message: 'the server is stopping; send it to another' })
    expect(accepted).toMatchObject({ id: 3n, code: 'OK', route: { workflow: 'slow' } })
  }
  expect(await overHttp).toMatchObject({ status: 200, body: { code: 'OK', outputs: { ms: [1500] } } })
  await stopped
  expect(await Promise.all(sockets.map((socket) => socket.closed))).toEqual([1001, 1001])
  await expect(http(served.server.adminPort, 'GET', '/v2/health/live')).rejects.toThrow('ECONNREFUSED')
})

test('what is not answered when the time to drain is over is told so', async () => {
  const served = await serve({ ...env, MILLRACE_DRAIN_MS: '50' })
  const socket = await RawSocket.open(served.server.port)
  const overHttp = served.json({ objective: 'slow', inputs: { ms: [30_000] }, deadline_ms: 60_000 })
  socket.send(message('slow', { ms: Float32Array.of(30_000) }, { id: 7n, deadlineUs: 60_000_000 }))
  await until('they are accepted', async () => {
    const { requestsInFlight } = await served.lane()
    return requestsInFlight === 2 || String(requestsInFlight)
  })
  await served.server.stop()
  expect(decodeReply((await socket.received(1))[0] as Buffer)).toMatchObject({ id: 7n, code: 'UNAVAILABLE' })
  expect(await overHttp).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } })
})

/** Connects until each lane has got a connection; the others are closed again. */
async function oneSocketEach(served: Served): Promise<RawSocket[]> {
  const byLane: (RawSocket | undefined)[] = [undefined, undefined]
  for (let tries = 0; tries < 64 && byLane.includes(undefined); tries++) {
    const before = await requestsByLane(served)
    const socket = await RawSocket.open(served.server.port)
    await ask(socket, echoMessage(1n))
    const lane = (await requestsByLane(served)).findIndex((count, i) => count > before[i]!)
    if (byLane[lane] === undefined) byLane[lane] = socket
    else await socket.close()
  }
  expect(byLane).not.toContain(undefined)
  return byLane as RawSocket[]
}

async function requestsByLane(served: Served): Promise<number[]> {
  const counts = [0, 0]
  for (const { lane, requests } of await served.server.snapshots())
    counts[lane] = requests.reduce((sum, { count }) => sum + count, 0)
  return counts
}

/** The next reply of a socket that nothing else is asked on. */
async function ask(socket: RawSocket, request: Uint8Array): Promise<ReturnType<typeof decodeReply>> {
  const count = socket.messages.length + 1
  socket.send(request)
  return decodeReply((await socket.received(count))[count - 1] as Buffer)
}

function sum(page: MetricsPage, name: string): number {
  return [...page.series].reduce((total, [key, value]) => (key.startsWith(`${name}{`) ? total + value : total), 0)
}
