import { WebSocket } from 'ws'
import { echoCase } from '../support/load-cases'
import { Random } from '../support/random'
import { serve, stopServed } from '../support/served'

/* Several lanes behind one port, and who is connected to which. */

const random = new Random()

afterAll(stopServed)

test('the connections of a client, and with them its requests, are on all lanes alike', async () => {
  const [lanes, sockets, requests] = [3, 6, 120]
  const served = await serve({ MILLRACE_LANES: String(lanes), MILLRACE_POOL_CPU_THREADS: '1' })
  const client = served.client({ sockets })
  const { objective, inputs } = echoCase(random, 1)
  for (let i = 0; i < requests; i += sockets)
    await Promise.all(Array.from({ length: sockets }, () => client.score({ objective, inputs })))
  const snapshots = await served.server.snapshots()
  const each = (of: number): number[] => new Array<number>(lanes).fill(of)
  expect(snapshots.map((lane) => lane.sockets.websocket)).toEqual(each(sockets / lanes))
  expect(snapshots.map((lane) => lane.requests.reduce((sum, { count }) => sum + count, 0))).toEqual(
    each(requests / lanes),
  )
  await served.idle()
})

test.each(['uws', 'node'])('an upgrade is answered with the lane (MILLRACE_TRANSPORT=%s)', async (transport) => {
  const served = await serve({ MILLRACE_TRANSPORT: transport })
  const socket = new WebSocket(`ws://127.0.0.1:${served.server.port}/v1/stream`)
  let lane: unknown
  socket.once('upgrade', ({ headers }) => (lane = headers['x-millrace-lane']))
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  expect(lane).toMatch(/^[0-9a-f]{8}\/0\/1$/)
  socket.terminate()
})
