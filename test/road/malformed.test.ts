import type { Client } from '@millrace/client'
import { decodeReply, decodeReplyList, encodeRequestList } from '@millrace/wire'
import { echoMessage } from '../support/messages'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { exchange, serve, stopServed, type Served } from '../support/served'
import { traffic, type Traffic } from '../support/traffic'

/* What no client of ours would send, while others are served. */

const random = new Random()
const flatBuffers = 'application/x-flatbuffers'
/** A refusal begins with the field that is wrong. */
const namesField = /^[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*: ./

afterAll(stopServed)

describe.each(['uws', 'node'])('%s', (transport) => {
  let served: Served
  let pid: number
  let clients: Client[]
  let good: Traffic
  beforeAll(async () => {
    served = await serve({ MILLRACE_TRANSPORT: transport, MILLRACE_REQUEST_BYTES_MAX: '64KiB' })
    pid = (await served.lane()).pid
    clients = [served.client(), served.client({ transport: 'http' })]
  })
  beforeEach(() => {
    good = traffic(random, ...clients)
  })
  afterEach(async () => {
    expect(await good.stop()).toBeGreaterThan(0)
    await served.idle()
    expect(await served.lane()).toMatchObject({ pid, pools: [{ restarts: 0 }] })
  })

  const whole = echoMessage(77n, { subject: 'account-1', context: { country: 'US' }, timings: true })

  test('bodies that are cut short are refused with the field', async () => {
    const socket = await RawSocket.open(served.server.port)
    const lengths = [0, 1, 3, 4, 11, 12, ...Array.from({ length: 40 }, () => random.whole(0, whole.length - 1))]
    for (const [i, length] of lengths.entries()) {
      const cut = whole.slice(0, length)
      const answer = await served.post('/v1/score', cut, flatBuffers)
      expect([length, answer.status, answer.contentType]).toEqual([length, 400, flatBuffers])
      socket.send(cut)
      const overSocket = (await socket.received(i + 1))[i] as Buffer
      for (const reply of [answer.body, overSocket].map(decodeReply)) {
        expect(reply).toMatchObject({ code: 'INVALID_ARGUMENT', route: null, outputs: [] })
        expect(reply.message).toMatch(namesField)
      }
    }
    await socket.close()
  })

  test('bytes that were changed are refused or mean something else; nothing breaks', async () => {
    const socket = await RawSocket.open(served.server.port)
    const codes = new Set<string>()
    const count = 600
    for (let i = 0; i < count; i++) {
      const changed = new Uint8Array(whole)
      for (let n = random.whole(1, 4); n > 0; n--) changed[random.whole(0, changed.length - 1)] = random.whole(0, 255)
      socket.send(changed)
    }
    for (const reply of await socket.received(count)) codes.add(decodeReply(reply as Buffer).code)
    const expected = ['OK', 'INVALID_ARGUMENT', 'NOT_FOUND', 'PERMISSION_DENIED', 'DEADLINE_EXCEEDED']
    expect([...codes].filter((code) => !expected.includes(code))).toEqual([])
    expect(codes).toContain('INVALID_ARGUMENT')
    await socket.close()
  })

  test('noise is refused', async () => {
    const socket = await RawSocket.open(served.server.port)
    for (let i = 0; i < 50; i++) {
      const noise = Buffer.from(Array.from({ length: random.whole(0, 300) }, () => random.whole(0, 255)))
      const { status, body } = await served.post('/v1/score', noise, flatBuffers)
      expect([status, decodeReply(body).code]).toEqual([400, 'INVALID_ARGUMENT'])
      socket.send(noise)
      expect(decodeReply((await socket.received(i + 1))[i] as Buffer).code).toBe('INVALID_ARGUMENT')
    }
    await socket.close()
  })

  test('a broken request of a list is refused alone; a broken list is refused', async () => {
    const list = encodeRequestList([whole, whole.slice(0, 40), whole])
    const { status, body } = await served.post('/v1/score', list, flatBuffers)
    expect(status).toBe(200)
    expect(decodeReplyList(body).map((reply) => decodeReply(reply).code)).toEqual(['OK', 'INVALID_ARGUMENT', 'OK'])
    const broken = await served.post('/v1/score', list.slice(0, list.length - 48), flatBuffers)
    expect([broken.status, decodeReply(broken.body).code]).toEqual([400, 'INVALID_ARGUMENT'])
    expect(decodeReply(broken.body).message).toMatch(namesField)
    const nested = await served.post('/v1/score', encodeRequestList([encodeRequestList([whole])]), flatBuffers)
    const [reply] = decodeReplyList(nested.body).map((one) => decodeReply(one))
    expect(reply).toMatchObject({ code: 'INVALID_ARGUMENT', message: 'items[0].request: a list inside a list' })
  })

  const inputs = { id: 1, tag: 't', key: [1], text: ['x'] }
  test.each<[string, string, RegExp]>([
    ['no JSON', '{"objective": ', /^the body is not JSON: /],
    ['nothing', '', /^the body is not JSON: /],
    ['a text', '"echo"', /^request: /],
    ['null', 'null', /^request: /],
    ['an objective that is a number', '{"objective": 5}', /^objective: /],
    ['a field that there is not', '{"objective": "echo", "input": {}}', /input/],
    ['inputs that are a list', '{"objective": "echo", "inputs": []}', /^inputs: /],
    ['a column that is missing', JSON.stringify({ objective: 'echo', inputs: { id: 1 } }), /^inputs\.tag: missing/],
    ['a column too many', JSON.stringify({ objective: 'echo', inputs: { ...inputs, more: 1 } }), /^inputs\.more: /],
    ['a wrong value', JSON.stringify({ objective: 'echo', inputs: { ...inputs, key: [-1] } }), /^inputs\.key\[0\]: /],
    ['rows that differ', JSON.stringify({ objective: 'echo', inputs: { ...inputs, key: [1, 2] } }), /^inputs\.text: /],
    ['no rows', JSON.stringify({ objective: 'echo', inputs: { ...inputs, key: [], text: [] } }), /^inputs: 0 rows/],
    ['a deadline in the past', '{"objective": "echo", "deadline_ms": -1}', /^deadline_ms: /],
  ])('JSON: %s', async (_, body, message) => {
    const answer = await served.post('/v1/score', body)
    const refusal = JSON.parse(answer.body.toString('utf8')) as { code: string; message: string }
    expect([answer.status, answer.contentType, refusal.code]).toEqual([400, 'application/json', 'INVALID_ARGUMENT'])
    expect(refusal.message).toMatch(message)
    const socket = await RawSocket.open(served.server.port)
    socket.send(body)
    expect(JSON.parse((await socket.received(1))[0] as string)).toMatchObject(refusal)
    await socket.close()
  })

  test('a body over the limit is refused and its connection closed', async () => {
    const body = Buffer.alloc(65 * 1024, 32)
    const head = 'POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
    const closed = await exchange(served.server.port, `${head}Content-Length: ${body.length}\r\n\r\n`, body)
    expect(closed).toContain('413 Payload Too Large')
    expect(closed).toContain('MILLRACE_REQUEST_BYTES_MAX')
    const chunks = Array.from({ length: 9 }, () =>
      Buffer.concat([Buffer.from('2000\r\n'), Buffer.alloc(8192, 32), Buffer.from('\r\n')]),
    )
    expect(await exchange(served.server.port, `${head}Transfer-Encoding: chunked\r\n\r\n`, ...chunks)).toContain('413')
    const socket = await RawSocket.open(served.server.port)
    socket.send(body)
    expect([1006, 1009]).toContain(await socket.closed)
    expect(socket.messages).toEqual([])
  })

  test.each(['POST /v1/score', 'POST /v1/resolve', 'POST /v1/nothing', 'GET /v1/nothing'])(
    'two lengths that differ: %s is closed, and what is hidden behind it is not executed',
    async (line) => {
      const before = await hidden(served)
      const body = JSON.stringify({ objective: 'crash', inputs: { how: 'none', value: [1] } })
      const second =
        'POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
        `Content-Length: ${body.length}\r\n\r\n${body}`
      for (const lengths of [
        [0, second.length],
        [second.length, 0],
        [2, 2 + second.length],
      ]) {
        const fields = lengths.map((length) => `Content-Length: ${length}\r\n`).join('')
        const start = `${line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${fields}\r\n`
        const answer = await exchange(served.server.port, `${start}${lengths[0] === 2 ? '{}' : ''}${second}`)
        expect(answer).not.toContain(' 200 OK')
      }
      expect(await hidden(served)).toBe(before)
    },
  )
})

/** Requests that reached `crash`, which the good traffic does not use. */
async function hidden(served: Served): Promise<number> {
  const { requests } = await served.lane()
  return requests.reduce((sum, { workflow, count }) => (workflow === 'crash' ? sum + count : sum), 0)
}
