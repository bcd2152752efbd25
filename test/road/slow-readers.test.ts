import { connect } from 'node:net'
import { frame, FrameSocket } from '../support/frames'
import { message } from '../support/messages'
import { Random } from '../support/random'
import { serve, stopServed, until, type Served } from '../support/served'
import { traffic, type Traffic } from '../support/traffic'

/* Those who ask and never read the answers: what they may keep waiting is bounded, and others are served meanwhile. */

const random = new Random()
const mib = 2 ** 20

afterAll(stopServed)

/** Its answer is about a MiB. */
const rows = 1000
const asked = Buffer.from(
  message('echo', {
    id: BigUint64Array.of(9n),
    tag: 't',
    key: new BigUint64Array(rows),
    text: new Array<string>(rows).fill('x'.repeat(1000)),
  }),
)

const transports = ['uws', 'node']
const open = (transport: string): Promise<Served> =>
  serve({ MILLRACE_TRANSPORT: transport, MILLRACE_UNREAD_BYTES_MAX: '24MiB', MILLRACE_ARENA_BYTES: '64MiB' })
/** Requests of others, over HTTP: every WebSocket is one that does not read. */
const others = (served: Served): Traffic => traffic(random, served.client({ transport: 'http' }))

describe.each(transports)('%s', (transport) => {
  let served: Served
  beforeAll(async () => {
    served = await open(transport)
  })

  /** Resolves when the lane has so many WebSockets. */
  const areOpen = (count: number): Promise<void> =>
    until(`${count} are open`, async () => {
      const { sockets } = await served.lane()
      return sockets.websocket === count || String(sockets.websocket)
    })

  test('one WebSocket is closed when it leaves too much unread; slabs and memory come back', async () => {
    const good = others(served)
    const rounds: number[] = []
    for (let n = 0; n < 10; n++) {
      const socket = await FrameSocket.open(served.server.port)
      socket.socket.pause()
      await areOpen(1)
      // Few at a time: what others need of the arena is theirs.
      while (!socket.isClosed) {
        for (let i = 0; i < 8; i++) socket.send(frame(0x82, asked))
        await Promise.race([served.idle(), socket.closed])
      }
      await areOpen(0)
      socket.destroy()
      rounds.push((await served.lane()).rssBytes)
    }
    expect(await good.stop()).toBeGreaterThan(0)
    await served.idle()
    // Eight times the 16 MiB that one may leave unread would show.
    expect(rounds[9]! - rounds[1]!).toBeLessThan(64 * mib)
  })

  test('of many who leave a little unread those with most are closed; who reads is answered', async () => {
    const good = others(served)
    const sockets = await Promise.all(Array.from({ length: 8 }, () => FrameSocket.open(served.server.port)))
    for (const { socket } of sockets) socket.pause()
    await areOpen(8)
    for (const socket of sockets) for (let i = 0; i < 14; i++) socket.send(frame(0x82, asked))
    await until('some of them are closed, and not all', async () => {
      const { websocket } = (await served.lane()).sockets
      return (websocket > 0 && websocket < 8) || String(websocket)
    })
    expect(await good.stop()).toBeGreaterThan(0)
    await served.idle()
    for (const socket of sockets) socket.destroy()
    await areOpen(0)
  })

  test('pings whose pongs are not read are bounded as well', async () => {
    const socket = await FrameSocket.open(served.server.port)
    socket.socket.pause()
    await areOpen(1)
    socket.flood(Buffer.concat(Array.from({ length: 1000 }, () => frame(0x89, 'p'.repeat(125)))))
    await areOpen(0)
    socket.destroy()
  })
})

test('an answer to a POST that is not read is let go', async () => {
  // Beside each other: it takes as long as the limit on the time.
  await Promise.all(transports.map(async (transport) => answersAreLetGo(await open(transport))))
})

async function answersAreLetGo(served: Served): Promise<void> {
  const large = Buffer.from(
    message('echo', {
      id: BigUint64Array.of(9n),
      tag: 't',
      key: new BigUint64Array(10_000),
      text: new Array<string>(10_000).fill('x'.repeat(900)),
    }),
  )
  const head = `POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-flatbuffers\r\n`
  const sockets = Array.from({ length: 2 }, () => {
    const socket = connect(served.server.port, '127.0.0.1')
    socket.pause()
    socket.on('error', () => undefined)
    socket.write(Buffer.concat([Buffer.from(`${head}content-length: ${large.length}\r\n\r\n`), large]))
    return socket
  })
  const good = others(served)
  const unreadIs = (holds: (bytes: number) => boolean) => async (): Promise<true | string> => {
    const { unreadBytes } = (await served.lane()).sockets
    return holds(unreadBytes) || String(unreadBytes)
  }
  await until(
    'both are answered',
    unreadIs((bytes) => bytes > large.length),
  )
  await until(
    'the answers are let go',
    unreadIs((bytes) => bytes === 0),
  )
  expect(await good.stop()).toBeGreaterThan(0)
  await served.idle()
  // Who reads after all sees a part.
  for (const socket of sockets) {
    let read = 0
    socket.on('data', (piece: Buffer) => (read += piece.length))
    socket.resume()
    await new Promise((resolve) => socket.once('close', resolve))
    expect(read).toBeLessThan(large.length)
  }
}
