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

describe.each(['uws', 'node'])('%s', (transport) => {
  let served: Served
  beforeAll(async () => {
    served = await serve({
      MILLRACE_TRANSPORT: transport,
      MILLRACE_UNREAD_BYTES_MAX: '24MiB',
      MILLRACE_ARENA_BYTES: '256MiB',
    })
  })

  /** Requests of others, over HTTP: every WebSocket is one that does not read. */
  const others = (): Traffic => traffic(random, served.client({ transport: 'http' }))

  /** Resolves when the lane has so many WebSockets. */
  const open = (count: number): Promise<void> =>
    until(`${count} are open`, async () => {
      const { sockets } = await served.lane()
      return sockets.websocket === count || String(sockets.websocket)
    })

  test('one WebSocket is closed when it leaves too much unread; slabs and memory come back', async () => {
    const good = others()
    const rounds: number[] = []
    for (let n = 0; n < 8; n++) {
      const socket = await FrameSocket.open(served.server.port)
      socket.socket.pause()
      await open(1)
      // What a kernel takes for a reader that does not read is a few MiB.
      for (let i = 0; i < 40; i++) socket.send(frame(0x82, asked))
      await open(0)
      socket.destroy()
      rounds.push((await served.lane()).rssBytes)
    }
    expect(await good.stop()).toBeGreaterThan(0)
    await served.idle()
    // Four times the 16 MiB that one may leave unread would show.
    expect(rounds[7]! - rounds[3]!).toBeLessThan(40 * mib)
  })

  test('of many who leave a little unread those with most are closed; who reads is answered', async () => {
    const good = others()
    const sockets = await Promise.all(Array.from({ length: 8 }, () => FrameSocket.open(served.server.port)))
    for (const { socket } of sockets) socket.pause()
    await open(8)
    for (const socket of sockets) for (let i = 0; i < 14; i++) socket.send(frame(0x82, asked))
    await until('some of them are closed, and not all', async () => {
      const { websocket } = (await served.lane()).sockets
      return (websocket > 0 && websocket < 8) || String(websocket)
    })
    expect(await good.stop()).toBeGreaterThan(0)
    await served.idle()
    for (const socket of sockets) socket.destroy()
    await open(0)
  })

  test('an answer to a POST that is not read is let go', async () => {
    const good = others()
    const head = `POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-flatbuffers\r\n`
    const large = Buffer.from(
      message('echo', {
        id: BigUint64Array.of(9n),
        tag: 't',
        key: new BigUint64Array(10_000),
        text: new Array<string>(10_000).fill('x'.repeat(900)),
      }),
    )
    const closed = Array.from({ length: 6 }, () => {
      const socket = connect(served.server.port, '127.0.0.1')
      socket.pause()
      // Of a server that let go a reader that reads after all sees a part.
      socket.on('error', () => undefined)
      socket.write(Buffer.concat([Buffer.from(`${head}content-length: ${large.length}\r\n\r\n`), large]))
      return socket
    })
    const answered = (): Promise<number> =>
      served
        .lane()
        .then(({ requests }) => requests.reduce((sum, { code, count }) => (code === 'OK' ? sum + count : sum), 0))
    const before = await answered()
    await until('they are answered', async () => {
      const now = await answered()
      return now - before > 100 || String(now)
    })
    await served.idle()
    expect(await good.stop()).toBeGreaterThan(0)
    const bytes = await Promise.all(
      closed.map(
        (socket) =>
          new Promise<number>((resolve) => {
            let read = 0
            socket.on('data', (piece: Buffer) => (read += piece.length))
            socket.once('close', () => resolve(read))
            // Not before the time for reading is over; node looks twice whether any was read.
            setTimeout(() => socket.resume(), transport === 'uws' ? 16_000 : 28_000)
          }),
      ),
    )
    for (const one of bytes) expect(one).toBeLessThan(large.length)
  })

  test('pings whose pongs are not read are bounded as well', async () => {
    const socket = await FrameSocket.open(served.server.port)
    socket.socket.pause()
    await open(1)
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => frame(0x89, 'p'.repeat(125))))
    const flood = (): void => {
      while (!socket.socket.destroyed && socket.socket.write(pings));
    }
    socket.socket.on('drain', flood)
    flood()
    await open(0)
    socket.destroy()
  })
})
