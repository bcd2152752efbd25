import { decodeReply } from '@millrace/wire'
import { frame, FrameSocket } from '../support/frames'
import { echoMessage } from '../support/messages'
import { http, serve, stopServed, type Served } from '../support/served'

/* WebSocket as RFC 6455 has it and as it is abused, and what browsers may ask. */

afterAll(stopServed)

const text = JSON.stringify({ id: 7, objective: 'echo', inputs: { id: 1, tag: 'ü', key: [2], text: ['x'] } })
const binary = Buffer.from(echoMessage(7n))
const u16 = (n: number): Buffer => Buffer.of(n >>> 8, n & 255)
/** A head that promises more than is ever sent. */
const promised = (...length: number[]): Buffer => Buffer.of(0x82, 0xff, ...length, 1, 2, 3, 4)
const [begin, end] = [Buffer.from(text).subarray(0, 52), Buffer.from(text).subarray(52)]

/**
 * What a socket sends, and what must come of it: answers to request 7, or a close with this code. uWebSockets.js closes
 * without a close frame, which a client sees as 1006; where it does not close at all, `uws` says what it does instead.
 */
interface Row {
  readonly sent: readonly Buffer[]
  readonly answers?: number
  readonly code?: number
  readonly uws?: 'answers' | 'waits' | 'echoes'
}

const rows: Readonly<Record<string, Row>> = {
  'a binary message': { sent: [frame(0x82, binary)], answers: 1 },
  'a text message': { sent: [frame(0x81, text)], answers: 1 },
  'in three pieces': {
    sent: [frame(0x02, binary.subarray(0, 9)), frame(0x00, binary.subarray(9, 90)), frame(0x80, binary.subarray(90))],
    answers: 1,
  },
  'text, cut in the middle of a character': { sent: [frame(0x01, begin), frame(0x80, end)], answers: 1 },
  'a ping between two pieces': {
    sent: [frame(0x02, binary.subarray(0, 9)), frame(0x89, 'p'), frame(0x80, binary.subarray(9))],
    answers: 1,
  },
  'a pong that nobody asked for': { sent: [frame(0x8a, 'p'), frame(0x82, binary)], answers: 1 },
  'a ping of 125 bytes': { sent: [frame(0x89, 'p'.repeat(125)), frame(0x82, binary)], answers: 1 },
  'a thousand pieces of nothing': {
    sent: [frame(0x02, binary), ...Array.from({ length: 1000 }, () => frame(0x00)), frame(0x80)],
    answers: 1,
  },
  'an id that comes twice': { sent: [frame(0x82, binary), frame(0x82, binary)], answers: 2 },

  'a piece of nothing before': { sent: [frame(0x80, binary)], code: 1002 },
  'a message in a message': { sent: [frame(0x02, 'a'), frame(0x82, binary)], code: 1002, uws: 'answers' },
  'no mask': { sent: [frame(0x82, 'hi', false)], code: 1002, uws: 'waits' },
  'the first reserved bit, compression': { sent: [frame(0xc2, binary)], code: 1002 },
  'the second reserved bit': { sent: [frame(0xa2, binary)], code: 1002 },
  'the third reserved bit': { sent: [frame(0x92, binary)], code: 1002 },
  'a reserved bit of a ping': { sent: [frame(0xc9)], code: 1002 },
  'a frame of kind 3': { sent: [frame(0x83, 'x')], code: 1002 },
  'a frame of kind 7': { sent: [frame(0x87)], code: 1002 },
  'a frame of kind 11': { sent: [frame(0x8b, 'x')], code: 1002 },
  'a frame of kind 15': { sent: [frame(0x8f)], code: 1002 },
  'a ping of 126 bytes': { sent: [frame(0x89, 'p'.repeat(126))], code: 1002 },
  'a ping in pieces': { sent: [frame(0x09, 'p')], code: 1002 },
  'a close in pieces': { sent: [frame(0x08, u16(1000))], code: 1002 },
  'a close of 126 bytes': { sent: [frame(0x88, Buffer.alloc(126, 3))], code: 1002 },
  'HTTP on a WebSocket': { sent: [Buffer.from('GET / HTTP/1.1\r\n\r\n')], code: 1002 },

  'a close': { sent: [frame(0x88)], code: 1005, uws: 'echoes' },
  'a close with a code': { sent: [frame(0x88, u16(1000))], code: 1000, uws: 'echoes' },
  'a close with a code of our own': { sent: [frame(0x88, u16(4321))], code: 4321, uws: 'echoes' },
  'a message after a close': { sent: [frame(0x88, u16(1000)), frame(0x82, binary)], code: 1000, uws: 'echoes' },
  'a close of one byte': { sent: [frame(0x88, 'x')], code: 1002, uws: 'echoes' },
  'a close with 1005': { sent: [frame(0x88, u16(1005))], code: 1002, uws: 'echoes' },
  'a close with 999': { sent: [frame(0x88, u16(999))], code: 1002, uws: 'echoes' },
  'a close whose reason is no text': {
    sent: [frame(0x88, Buffer.concat([u16(1000), Buffer.of(0xff)]))],
    code: 1007,
    uws: 'echoes',
  },

  'text that is no UTF-8': { sent: [frame(0x81, Buffer.of(0x7b, 0xff))], code: 1007 },
  'half a surrogate': { sent: [frame(0x81, Buffer.of(0xed, 0xa0, 0x80))], code: 1007 },
  'a slash that is too long': { sent: [frame(0x81, Buffer.of(0xc0, 0xaf))], code: 1007 },
  'half a character at the end': { sent: [frame(0x81, Buffer.of(0xe4, 0xb8))], code: 1007 },
  'no UTF-8 over two pieces': { sent: [frame(0x01, Buffer.of(0xe4)), frame(0x80, Buffer.of(0x41))], code: 1007 },

  'a message above the limit': { sent: [frame(0x82, Buffer.alloc(65_540))], code: 1009 },
  'pieces above the limit': {
    sent: [frame(0x02, Buffer.alloc(40_000)), frame(0x80, Buffer.alloc(40_000))],
    code: 1009,
  },
  'a length of 2^32': { sent: [promised(0, 0, 0, 1, 0, 0, 0, 0)], code: 1009 },
  'a length of 2^63 - 1': { sent: [promised(0x7f, 255, 255, 255, 255, 255, 255, 255)], code: 1009 },
  'a length of 2^64 - 1': { sent: [promised(255, 255, 255, 255, 255, 255, 255, 255)], code: 1009 },
}

describe.each(['uws', 'node'])('%s', (transport) => {
  let served: Served
  beforeAll(async () => {
    served = await serve({
      MILLRACE_TRANSPORT: transport,
      MILLRACE_REQUEST_BYTES_MAX: '64KiB',
      MILLRACE_ALLOWED_ORIGINS: 'https://good.example,http://localhost:3000',
    })
  })
  afterEach(() => served.idle())

  test.each(Object.entries(rows))('%s', async (_, { sent, answers, code, uws }) => {
    const socket = await FrameSocket.open(served.server.port, { 'sec-websocket-extensions': 'permessage-deflate' })
    expect(socket.status).toBe(101)
    expect(socket.head.toLowerCase()).not.toContain('extensions')
    socket.send(...sent)
    await socket.settled()
    const ids = socket.frames.flatMap(({ first, payload }) => {
      if (first === 0x82) return [decodeReply(payload).id]
      return first === 0x81 ? [BigInt((JSON.parse(payload.toString('utf8')) as { id: number }).id)] : []
    })
    if (answers !== undefined) expect(ids).toEqual(new Array<bigint>(answers).fill(7n))
    else if (transport === 'node') expect([socket.closeCode, socket.isClosed, ids]).toEqual([code, true, []])
    else if (uws === undefined) expect([socket.closeCode, socket.isClosed, ids]).toEqual([null, true, []])
    else if (uws === 'echoes') expect([socket.isClosed, ids]).toEqual([true, []])
    // Two messages in one, or none yet: refused or not answered, and no other request's.
    else expect([uws, socket.isClosed, ids]).toEqual([uws, false, uws === 'waits' ? [] : [0n]])
    socket.destroy()
    expect((await served.lane()).pools).toMatchObject([{ restarts: 0 }])
  })

  test.each([
    ['no version', { 'sec-websocket-version': '' }],
    ['version 8', { 'sec-websocket-version': '8' }],
    ['a key that is too short', { 'sec-websocket-key': 'AAAA' }],
    ['two hosts', { Host: 'y' }],
    ['an origin that is not allowed', { origin: 'https://evil.example' }],
    ['an origin within another', { origin: 'https://good.example.evil.example' }],
    ['no origin to speak of', { origin: 'null' }],
  ])('no upgrade with %s', async (_, headers) => {
    const status = await FrameSocket.open(served.server.port, headers).then(
      (socket) => socket.status,
      () => 0,
    )
    expect(status === 0 || status >= 400).toBe(true)
    if ('origin' in headers) expect(status).toBe(403)
  })

  test.each(['https://good.example', 'http://localhost:3000'])('an upgrade from %s', async (origin) => {
    const socket = await FrameSocket.open(served.server.port, { origin })
    socket.send(frame(0x82, binary))
    await socket.settled()
    expect(socket.frames.map(({ payload }) => decodeReply(payload).code)).toEqual(['OK'])
    socket.destroy()
  })

  test('a browser asks before it posts, and may where its page is allowed', async () => {
    const { port } = served.server
    const asks = (origin: string): ReturnType<typeof preflight> => preflight(port, origin)
    expect(await asks('https://good.example')).toEqual({
      status: 204,
      'access-control-allow-origin': 'https://good.example',
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': 'content-type, authorization',
      'access-control-max-age': '600',
      vary: 'origin',
    })
    expect(await asks('https://evil.example')).toEqual({ status: 403 })
    expect(await asks('null')).toEqual({ status: 403 })
    const answer = await fetchFrom(port, 'https://good.example', text)
    expect(answer).toMatchObject({ status: 200, 'access-control-allow-origin': 'https://good.example', vary: 'origin' })
    // A refusal is read as well: the page has to know why.
    const refused = await fetchFrom(port, 'http://localhost:3000', '{}')
    expect(refused).toMatchObject({ status: 404, 'access-control-allow-origin': 'http://localhost:3000' })
    const before = (await served.lane()).requests
    expect(await fetchFrom(port, 'https://evil.example', text)).toEqual({ status: 403 })
    const answered = (rows: typeof before): number =>
      rows.reduce((sum, { code, count }) => (code === 'OK' ? sum + count : sum), 0)
    expect(answered((await served.lane()).requests)).toBe(answered(before))
  })
})

test('no page may ask unless one is named; a star is all of them', async () => {
  const [closed, open] = [await serve(), await serve({ MILLRACE_ALLOWED_ORIGINS: '*' })]
  expect(await preflight(closed.server.port, 'http://localhost:3000')).toEqual({ status: 403 })
  const answer = await http(closed.server.port, 'POST', '/v1/score', text, { origin: 'http://localhost:3000' })
  expect(answer.body.toString('utf8')).toContain('(MILLRACE_ALLOWED_ORIGINS)')
  expect(await preflight(open.server.port, 'https://any.example')).toMatchObject({
    status: 204,
    'access-control-allow-origin': 'https://any.example',
  })
})

/** Status and CORS headers. */
type Cors = Readonly<Record<string, string | number>>

async function preflight(port: number, origin: string): Promise<Cors> {
  const asked = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' }
  return corsOf(await http(port, 'OPTIONS', '/v1/score', '', { origin, ...asked }))
}

async function fetchFrom(port: number, origin: string, body: string): Promise<Cors> {
  return corsOf(await http(port, 'POST', '/v1/score', body, { origin, 'content-type': 'application/json' }))
}

function corsOf({ status, headers }: { status: number; headers: NodeJS.Dict<string | string[]> }): Cors {
  const cors = Object.entries(headers).filter(([name]) => name.startsWith('access-control') || name === 'vary')
  return { status, ...(Object.fromEntries(cors) as Record<string, string>) }
}
