import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { http, serve, stopServed, type Served } from '../support/served'

/*
 * HTTP/1.1 as those write it who want to be read in two ways: by a proxy in front and by us. Each row is what arrives on
 * one connection and what must come of it, whichever server reads it.
 */

afterAll(stopServed)

/** One port, a request that it answers with 200, and one that must not be executed. */
interface Door {
  readonly port: number
  readonly path: string
  readonly body: string
  readonly hidden: string
  /** How often the hidden one was executed. */
  executed(): Promise<number>
}

const post = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`

function dataDoor(served: Served): Door {
  return {
    port: served.server.port,
    path: '/v1/score',
    body: JSON.stringify({ objective: 'echo', inputs: { id: 1, tag: 't', key: [2], text: ['x'] } }),
    hidden: post('/v1/score', JSON.stringify({ objective: 'crash', inputs: { how: 'none', value: [1] } })),
    executed: async () => {
      const { requests } = await served.lane()
      return requests.reduce((sum, { workflow, count }) => (workflow === 'crash' ? sum + count : sum), 0)
    },
  }
}

async function adminDoor(served: Served): Promise<Door> {
  const versions = async (): Promise<number> => {
    const { body } = await served.admin('GET', '/v1/rules/versions')
    return (JSON.parse(body.toString('utf8')) as unknown[]).length
  }
  const before = await versions()
  const { body } = await served.admin('GET', '/v1/rules')
  const { objectives } = JSON.parse(body.toString('utf8')) as { objectives: unknown }
  return {
    port: served.server.adminPort,
    path: '/v1/explain',
    body: JSON.stringify({ objective: 'echo' }),
    hidden: post('/v1/rules', JSON.stringify({ rules: { objectives } })),
    executed: async () => (await versions()) - before,
  }
}

/**
 * `answered`: once, with 200. `refused`: with another status or by a closed connection, never with 200. `either`: what is
 * allowed and rare. In all of them what is hidden behind it is not executed.
 */
type Required = 'answered' | 'refused' | 'either'

const chunked = (body: string): string => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
const length = (text: string): string => `Content-Length: ${text.length}\r\n`
const te = (value: string): string => `Transfer-Encoding: ${value}\r\n`

/** A POST with these header lines and what follows them. */
const row = (lines: string, rest: string, first = 'POST PATH HTTP/1.1', host = 'Host: x\r\n'): string =>
  `${first}\r\n${host}Content-Type: application/json\r\n${lines}\r\n${rest}`

const rows: readonly (readonly [name: string, Required, (door: Door) => string])[] = [
  ['as it should be', 'answered', ({ body }) => row(length(body), body)],
  ['blanks around the length', 'answered', ({ body }) => row(`Content-Length:   ${body.length} \r\n`, body)],
  ['names in any case', 'answered', ({ body }) => row(`cOnTeNt-LeNgTh: ${body.length}\r\n`, body)],
  ['a query', 'answered', ({ body }) => row(length(body), body, 'POST PATH?a=b HTTP/1.1')],
  ['a length for nothing', 'refused', () => row('Content-Length: 0\r\n', '')],
  ['no length', 'refused', () => row('', '')],

  ['two lengths, the same', 'refused', ({ body }) => row(length(body) + length(body), body)],
  ['two lengths, 0 first', 'refused', ({ hidden }) => row(length('') + length(hidden), hidden)],
  ['two lengths, 0 last', 'refused', ({ hidden }) => row(length(hidden) + length(''), hidden)],
  ['two lengths in one', 'refused', ({ body }) => row(`Content-Length: ${body.length}, ${body.length}\r\n`, body)],
  ['a length with a sign', 'refused', ({ body }) => row(`Content-Length: +${body.length}\r\n`, body)],
  ['a length below zero', 'refused', ({ hidden }) => row('Content-Length: -5\r\n', hidden)],
  ['a length in hexadecimal', 'refused', ({ hidden }) => row('Content-Length: 0x5\r\n', hidden)],
  ['a length with letters', 'refused', ({ hidden }) => row('Content-Length: 5abc\r\n', hidden)],
  ['a length without digits', 'refused', ({ hidden }) => row('Content-Length: \r\n', hidden)],
  ['a length of 23 digits', 'refused', ({ hidden }) => row(`Content-Length: ${'9'.repeat(23)}\r\n`, hidden)],
  ['a length above 2^64', 'refused', ({ hidden }) => row('Content-Length: 18446744073709551616\r\n', hidden)],
  ['a blank before the colon', 'refused', ({ hidden }) => row('Content-Length : 5\r\n', hidden)],
  ['a tab before the colon', 'refused', ({ hidden }) => row('Content-Length\t: 5\r\n', hidden)],

  ['chunks', 'answered', ({ body }) => row(te('chunked'), chunked(body))],
  ['chunks, in any case', 'answered', ({ body }) => row('tRANSFER-eNCODING: cHuNkEd\r\n', chunked(body))],
  ['chunks with an extension', 'either', ({ body }) => row(te('chunked'), chunked(body).replace('\r', ';a=b\r'))],
  ['chunks and a length', 'refused', ({ hidden }) => row(te('chunked') + length('12345'), `0\r\n\r\n${hidden}`)],
  ['a length and chunks', 'refused', ({ hidden }) => row(length('12345') + te('chunked'), `0\r\n\r\n${hidden}`)],
  ['chunks twice', 'refused', ({ hidden }) => row(te('chunked') + te('chunked'), `0\r\n\r\n${hidden}`)],
  ['chunks and identity', 'refused', ({ hidden }) => row(te('identity') + te('chunked'), `0\r\n\r\n${hidden}`)],
  ['chunks, compressed', 'refused', ({ hidden }) => row(te('gzip, chunked'), `0\r\n\r\n${hidden}`)],
  ['chunks, then identity', 'refused', ({ hidden }) => row(te('chunked, identity'), `0\r\n\r\n${hidden}`)],
  ['another encoding', 'refused', ({ hidden }) => row(te('gzip'), `0\r\n\r\n${hidden}`)],
  ['an encoding that nobody knows', 'refused', ({ hidden }) => row(te('xchunked'), `0\r\n\r\n${hidden}`)],
  ['an encoding without a name', 'refused', ({ hidden }) => row(te(''), `0\r\n\r\n${hidden}`)],
  ['a control character before it', 'refused', ({ hidden }) => row(te('\x0bchunked'), `0\r\n\r\n${hidden}`)],
  ['a blank before the colon of it', 'refused', ({ hidden }) => row('Transfer-Encoding : chunked\r\n', hidden)],
  ['chunks in HTTP/1.0', 'refused', ({ body }) => row(te('chunked'), chunked(body), 'POST PATH HTTP/1.0')],
  ['a chunk below zero', 'refused', ({ hidden }) => row(te('chunked'), `-5\r\n${hidden}`)],
  ['a chunk of 0x5', 'refused', ({ hidden }) => row(te('chunked'), `0x5\r\n12345\r\n0\r\n\r\n${hidden}`)],
  ['a chunk of 17 digits', 'refused', ({ hidden }) => row(te('chunked'), `${'F'.repeat(17)}\r\n${hidden}`)],
  ['a chunk that is too long', 'refused', ({ hidden }) => row(te('chunked'), `1\r\n12345\r\n0\r\n\r\n${hidden}`)],
  ['a chunk ended by LF', 'either', ({ hidden }) => row(te('chunked'), `2\n{}\n0\n\n${hidden}`)],
  ['a trailer', 'either', ({ body, hidden }) => row(te('chunked'), `${chunked(body).slice(0, -2)}X: ${hidden}`)],
  ['no line after the last chunk', 'either', ({ hidden }) => row(te('chunked'), `2\r\n{}\r\n0\r\nxx${hidden}`)],

  ['a line that goes on', 'refused', ({ hidden }) => row('X: a\r\n Content-Length: 5\r\n', hidden)],
  ['an encoding on the next line', 'refused', ({ hidden }) => row('Transfer-Encoding:\r\n chunked\r\n', hidden)],
  ['LF alone', 'refused', ({ body }) => row(length(body), body).replaceAll('\r\n', '\n')],
  ['LF alone after a header', 'refused', ({ body }) => row(length(body), body, undefined, 'Host: x\n')],
  ['CR alone after a header', 'refused', ({ body }) => row(length(body), body, undefined, 'Host: x\r')],
  ['LF alone before the body', 'refused', ({ body }) => row(length(body), body).replace('\r\n\r\n', '\r\n\n')],
  ['a zero byte in a value', 'refused', ({ body }) => row(`X: a\0b\r\n${length(body)}`, body)],
  ['a zero byte in a name', 'refused', ({ body }) => row(`X\0: b\r\n${length(body)}`, body)],
  ['a header without a name', 'refused', ({ hidden }) => row(`: b\r\n${length(hidden)}`, hidden)],
  ['a header without a name, chunks', 'refused', ({ hidden }) => row(`:b\r\n${te('chunked')}`, `0\r\n\r\n${hidden}`)],
  ['a header without a colon', 'refused', ({ body }) => row(`abc\r\n${length(body)}`, body)],
  ['no host', 'refused', ({ body }) => row(length(body), body, undefined, '')],
  ['two hosts', 'refused', ({ body }) => row(length(body), body, undefined, 'Host: x\r\nHost: y\r\n')],

  ['another method, with a body', 'refused', ({ hidden }) => row(length(hidden), hidden, 'PUT PATH HTTP/1.1')],
  ['GET with a body', 'refused', ({ hidden }) => row(length(hidden), hidden, 'GET /v1/none HTTP/1.1')],
  ['GET with two lengths', 'refused', ({ hidden }) => row(length('') + length(hidden), hidden, 'GET /none HTTP/1.1')],
  ['GET with odd chunks', 'refused', ({ hidden }) => row(te('xchunked'), `0\r\n\r\n${hidden}`, 'GET /none HTTP/1.1')],
  [
    'GET, its length behind no name',
    'refused',
    ({ hidden }) => row(`: b\r\n${length(hidden)}`, hidden, 'GET /no HTTP/1.1'),
  ],
  ['a method in small letters', 'refused', ({ body }) => row(length(body), body, 'post PATH HTTP/1.1')],
  ['a method that nobody knows', 'refused', ({ body }) => row(length(body), body, 'BREW PATH HTTP/1.1')],
  ['CONNECT', 'refused', ({ hidden }) => `CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n${hidden}`],
  ['TRACE', 'refused', () => 'TRACE PATH HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['OPTIONS *', 'refused', () => 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an absolute target', 'refused', ({ body }) => row(length(body), body, 'POST http://evil.example/PATH HTTP/1.1')],
  ['another path', 'refused', ({ body }) => row(length(body), body, 'POST /v1//score HTTP/1.1')],
  ['blanks in the first line', 'either', ({ body }) => row(length(body), body, 'POST  PATH  HTTP/1.1')],
  ['tabs in the first line', 'refused', ({ body }) => row(length(body), body, 'POST\tPATH\tHTTP/1.1')],
  ['an empty line first', 'either', ({ body }) => `\r\n\r\n${row(length(body), body)}`],
  ['HTTP/0.9', 'refused', () => 'GET PATH\r\n\r\n'],
  ['HTTP/1.2', 'refused', ({ body }) => row(length(body), body, 'POST PATH HTTP/1.2')],
  ['HTTP/2.0', 'refused', ({ body }) => row(length(body), body, 'POST PATH HTTP/2.0')],
  ['the preface of HTTP/2', 'refused', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['the hello of TLS', 'refused', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['an upgrade to HTTP/2', 'either', ({ body }) => row(`Connection: Upgrade\r\nUpgrade: h2c\r\n${length(body)}`, body)],
  ['an expectation', 'either', ({ body }) => row(`Expect: 100-continue\r\n${length(body)}`, body)],
  ['an expectation that nobody knows', 'either', ({ body }) => row(`Expect: nonsense\r\n${length(body)}`, body)],

  [
    'a first line of 1 MiB',
    'refused',
    ({ body }) => row(length(body), body, `POST PATH?${'a'.repeat(2 ** 20)} HTTP/1.1`),
  ],
  ['a header of 1 MiB', 'refused', ({ body }) => row(`X: ${'a'.repeat(2 ** 20)}\r\n${length(body)}`, body)],
  ['200,000 headers', 'refused', ({ body }) => row('A: b\r\n'.repeat(200_000) + length(body), body)],
]

describe.each(['uws', 'node', 'admin'])('%s', (kind) => {
  let served: Served
  let door: Door
  /** Who sent slowly and was not closed in time. */
  let slow: Promise<string[]>
  beforeAll(async () => {
    served = await serve({ MILLRACE_TRANSPORT: kind === 'node' ? 'node' : 'uws' })
    door = kind === 'admin' ? await adminDoor(served) : dataDoor(served)
    slow = slowOnes(door, kind === 'uws')
  })

  test('a table of what may arrive', async () => {
    // All at once: what is never answered takes as long as the time limit for a head.
    const outcomes = await Promise.all(
      rows.map(async ([name, required, bytes]) => {
        const sent = bytes(door).replaceAll('/PATH', door.path).replaceAll('PATH', door.path)
        const { statuses, closed } = await outcomeOf(door.port, sent)
        const answered = statuses.filter((status) => status === 200).length
        const refused = answered === 0 && (closed || statuses.some((status) => status >= 400))
        const good = { answered: answered === 1, refused, either: answered === 1 || refused }[required]
        return good ? [] : [`${name}: ${statuses.join()} ${closed ? 'closed' : 'open'}, must be ${required}`]
      }),
    )
    expect(outcomes.flat()).toEqual([])
    expect(await door.executed()).toBe(0)
    // The hidden one is what it says, where it is not hidden.
    expect((await outcomeOf(door.port, door.hidden)).statuses).toEqual([200])
    expect(await door.executed()).toBe(1)
    await served.idle()
  })

  test('those who send slowly are closed', async () => {
    expect(await slow).toEqual([])
  })

  test('requests that follow each other without waiting are answered in their order, or not at all', async () => {
    const bodies =
      kind === 'admin'
        ? [1, 2, 3].map((n) => JSON.stringify({ objective: 'echo', subject: `${n}`, context: {} }))
        : [1, 2, 3].map((id) => JSON.stringify({ ...(JSON.parse(door.body) as object), id }))
    const { text, statuses } = await outcomeOf(door.port, bodies.map((body) => post(door.path, body)).join(''))
    expect(statuses.every((status) => status === 200)).toBe(true)
    if (kind !== 'admin') {
      const ids = [...text.matchAll(/{"id":(\d),"code"/g)].map((match) => Number(match[1]))
      expect(ids).toEqual([1, 2, 3].slice(0, ids.length))
    }
    expect((await outcomeOf(door.port, post(door.path, door.body))).statuses).toEqual([200])
  })
})

test('a browser may ask the admin port nothing', async () => {
  const { server } = await serve()
  for (const [method, path] of [
    ['GET', '/metrics'],
    ['POST', '/v1/rules/rollback'],
  ] as const) {
    const answer = await http(server.adminPort, method, path, '{}', { origin: 'https://example.org' })
    expect([answer.status, answer.body.toString('utf8')]).toEqual([403, expect.stringContaining('origin: ')])
  }
})

interface OutcomeOf {
  readonly text: string
  readonly statuses: number[]
  readonly closed: boolean
}

const quietMs = 400
const silentMsMax = 25_000

/** What came back on a connection of its own, when it was closed or nothing more came after an answer. */
function outcomeOf(port: number, bytes: string): Promise<OutcomeOf> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    const end = (closed: boolean) => (): void => {
      clearTimeout(timer)
      socket.destroy()
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1]))
      resolve({ text, statuses: statuses.filter((status) => status !== 100), closed })
    }
    let timer = setTimeout(end(false), silentMsMax)
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('latin1')
      clearTimeout(timer)
      timer = setTimeout(end(false), quietMs)
    })
    // What was sent into a closed connection is answered by a reset: closed is closed.
    socket.on('error', () => undefined)
    socket.on('close', end(true))
    socket.write(Buffer.from(bytes, 'latin1'))
  })
}

/** Of node:http a whole request has a minute. */
async function slowOnes({ port, path }: Door, bodyToo: boolean): Promise<string[]> {
  const head = `POST ${path} HTTP/1.1\r\nHost: x\r\n`
  const open = await Promise.all(
    [
      ['nothing', '', ''],
      ['a byte a second of the first line', '', 'P'],
      ['a header a second', head, 'X: y\r\n'],
      ...(bodyToo ? [['a byte a second of the body', `${head}Content-Length: 1000\r\n\r\n`, ' ']] : []),
    ].map(async ([name, first, more]) => ((await closesInTime(port, first!, more!)) ? [] : [name!])),
  )
  return open.flat()
}

/** Whether the connection is closed in time while `more` is sent each second. */
async function closesInTime(port: number, first: string, more: string): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.resume()
  const closed = new Promise<true>((resolve) => socket.once('close', () => resolve(true)))
  socket.write(first)
  const sending = setInterval(() => more !== '' && socket.write(more), 1_000)
  const inTime = await Promise.race([closed, delay(silentMsMax, false, { ref: false })])
  clearInterval(sending)
  socket.destroy()
  return inTime
}
