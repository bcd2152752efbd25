import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client, ScoreError, ScoreRequest } from '@millrace/client'
import type { RulesFile } from '@millrace/rules'
import { hashOfKey } from '@millrace/server'
import { encodeRequestList } from '@millrace/wire'
import { message } from '../support/messages'
import { RawSocket } from '../support/raw-socket'
import { repliesById } from '../support/messages'
import { http, serve, stopServed, until, type Served } from '../support/served'

/* Every limit on who may have how much: reached, refused by its name, nobody else disturbed, and all of it given back. */

const folder = mkdtempSync(join(tmpdir(), 'limits-'))
const file = join(folder, 'tenants.json')
const tenants = ['shop', 'other', 'third']
const key = (tenant: string): string => tenant.padEnd(40, '.')

beforeAll(() =>
  writeFileSync(
    file,
    JSON.stringify({
      tenants: Object.fromEntries(
        tenants.map((tenant) => [tenant, { keys: [hashOfKey(key(tenant))], may: ['resolve'] }]),
      ),
    }),
  ),
)
afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true })
})

const objectives = { slow: { default: 'slow@1' }, crash: { default: 'crash@1' }, echo: { default: 'echo@1' } }
/** Keeps its thread busy for so long. */
const slow = (ms: number): { objective: string; inputs: { ms: Float32Array } } => {
  return { objective: 'slow', inputs: { ms: Float32Array.of(ms) } }
}
const crash = (how: string): { objective: string; inputs: { how: string; value: Int32Array } } => {
  return { objective: 'crash', inputs: { how, value: Int32Array.of(1) } }
}

/** `OK`, or why not. */
function saying(asked: Promise<unknown>): Promise<string> {
  return asked.then(
    () => 'OK',
    (error: ScoreError) => error.message,
  )
}

describe.each(['uws', 'node'])('%s', (transport) => {
  let served: Served
  let clients: Record<string, Client>

  beforeAll(async () => {
    served = await serve({
      MILLRACE_TRANSPORT: transport,
      MILLRACE_TENANTS: file,
      MILLRACE_SOCKET_IN_FLIGHT_MAX: '40',
      MILLRACE_POOL_CPU_THREADS: '1',
      // Not what is looked at here.
      MILLRACE_FAIR_WAIT_MS: '600000',
      MILLRACE_STATE_FOLDER: mkdtempSync(join(folder, 'state-')),
    })
    clients = Object.fromEntries(
      tenants.map((tenant) => [tenant, served.client({ token: key(tenant), transport: 'http' })]),
    )
  })
  afterEach(() => served.idle())

  const publish = async (limits: RulesFile['limits']): Promise<void> => {
    const answer = await served.admin('POST', '/v1/rules', JSON.stringify({ rules: { objectives, limits } }))
    expect([answer.status, answer.body.toString('utf8')]).toEqual([200, expect.any(String)])
  }
  const ask = (tenant: string, request: ScoreRequest): Promise<string> => saying(clients[tenant]!.score(request))
  /** As many at once, over one WebSocket of each. */
  const inFlight = async (tenant: string, count: number, request: ScoreRequest = slow(300)): Promise<string[]> => {
    const client = served.client({ token: key(tenant) })
    return Promise.all(Array.from({ length: count }, () => saying(client.score(request))))
  }
  const refusedBy = (said: readonly string[]): Map<string, number> => {
    const counts = new Map<string, number>()
    for (const one of said) counts.set(one, (counts.get(one) ?? 0) + 1)
    return counts
  }

  test('requests in flight of a tenant, over all versions and connections', async () => {
    await publish([{ id: 'few', tenant: 'shop', requests_in_flight: 3 }])
    const no = 'RESOURCE_EXHAUSTED: limit few of the rules: 3 requests_in_flight of shop; send it later'
    for (let round = 0; round < 3; round++) {
      const [first, second, other] = await Promise.all([
        inFlight('shop', 4),
        inFlight('shop', 4, crash('none')),
        inFlight('other', 9),
      ])
      expect(other).toEqual(Array(9).fill('OK'))
      expect(refusedBy([...first, ...second])).toEqual(
        new Map([
          ['OK', 3],
          [no, 5],
        ]),
      )
      await served.idle()
    }
  })

  test('requests a second: of one tenant, of each, and of an objective', async () => {
    await publish([
      { id: 'one', tenant: 'shop', requests_per_second: 0.001, burst: 2 },
      { id: 'each', tenant: '*', objectives: ['crash'], requests_per_second: 0.001, burst: 3 },
      { id: 'all', objectives: ['echo'], requests_per_second: 0.001, burst: 1 },
    ])
    const many = async (tenant: string, objective: 'slow' | 'crash' | 'echo'): Promise<string[]> => {
      const said: string[] = []
      const inputs = { id: BigUint64Array.of(1n), tag: 't', key: BigUint64Array.of(1n), text: ['t'] }
      for (let i = 0; i < 5; i++)
        said.push(
          await ask(
            tenant,
            objective === 'slow' ? slow(0) : objective === 'crash' ? crash('none') : { objective, inputs },
          ),
        )
      return said.map((one) => /limit (\w+) of/.exec(one)?.[1] ?? one)
    }
    expect(await many('shop', 'slow')).toEqual(['OK', 'OK', 'one', 'one', 'one'])
    // Of the first limit that refuses; it takes nothing of the others.
    expect(await many('shop', 'crash')).toEqual(Array(5).fill('one'))
    expect(await many('other', 'crash')).toEqual(['OK', 'OK', 'OK', 'each', 'each'])
    expect(await many('third', 'crash')).toEqual(['OK', 'OK', 'OK', 'each', 'each'])
    expect(await many('other', 'echo')).toEqual(['OK', 'all', 'all', 'all', 'all'])
    expect(await many('third', 'echo')).toEqual(Array(5).fill('all'))
    expect(await many('third', 'slow')).toEqual(Array(5).fill('OK'))
    // What asks for the route alone comes as well.
    const resolved = await saying(clients['shop']!.resolve({ objective: 'slow' }))
    expect(resolved).toBe(
      'RESOURCE_EXHAUSTED: limit one of the rules: 0.001 requests_per_second of shop; send it later',
    )
    // Published while it serves: other numbers begin anew, the same go on.
    await publish([{ id: 'one', tenant: 'shop', requests_per_second: 0.001, burst: 1 }])
    expect(await many('shop', 'slow')).toEqual(['OK', 'one', 'one', 'one', 'one'])
    await publish([{ id: 'one', tenant: 'shop', requests_per_second: 0.001, burst: 1 }])
    expect(await many('shop', 'slow')).toEqual(Array(5).fill('one'))
    await publish([])
    expect(await many('shop', 'slow')).toEqual(Array(5).fill('OK'))
  })

  test('requests in flight come back after closes, deadlines and dead threads, also over a publish', async () => {
    await publish([{ id: 'few', tenant: '*', requests_in_flight: 4 }])
    const whole = async (): Promise<void> => {
      await served.idle()
      expect(refusedBy(await inFlight('shop', 6)).get('OK')).toBe(4)
    }
    await whole()
    // Gone before it is answered.
    const socket = await RawSocket.open(served.server.port, { authorization: `Bearer ${key('shop')}` })
    for (let i = 0; i < 4; i++) socket.send(message('slow', { ms: Float32Array.of(200) }, { id: BigInt(i) }))
    await until('they are in flight', async () => {
      const { requestsInFlight } = await served.lane()
      return requestsInFlight === 4 || String(requestsInFlight)
    })
    socket.terminate()
    await whole()
    // Answered at their deadline, while they run.
    const late = await inFlight('shop', 4, { ...slow(500), deadlineMs: 50 })
    for (const one of late) expect(one).toMatch(/^DEADLINE_EXCEEDED/)
    await whole()
    const dead = await inFlight('shop', 4, crash('exit'))
    for (const one of dead) expect(one).toMatch(/^UNAVAILABLE/)
    await whole()
    // Under way while the limit is published again with other numbers, and taken away.
    const running = inFlight('shop', 4, slow(400))
    await until('they are in flight', async () => {
      const { requestsInFlight } = await served.lane()
      return requestsInFlight === 4 || String(requestsInFlight)
    })
    await publish([{ id: 'few', tenant: '*', requests_in_flight: 5 }])
    expect(refusedBy(await inFlight('shop', 3)).get('OK')).toBe(1)
    expect(await running).toEqual(Array(4).fill('OK'))
    await served.idle()
    expect(refusedBy(await inFlight('shop', 7)).get('OK')).toBe(5)
    await publish([])
    expect(await inFlight('shop', 12)).toEqual(Array(12).fill('OK'))
  })

  test('requests in flight of one connection: a WebSocket, and a list that is posted', async () => {
    await publish([])
    const no = /this connection has 40 requests in flight already \(MILLRACE_SOCKET_IN_FLIGHT_MAX\)/
    const headers = { authorization: `Bearer ${key('shop')}` }
    const socket = await RawSocket.open(served.server.port, headers)
    for (let round = 1; round <= 2; round++) {
      // Slow enough that all are there before the first is answered.
      for (let i = 0; i < 50; i++) socket.send(message('slow', { ms: Float32Array.of(400) }, { id: BigInt(i) }))
      const replies = repliesById((await socket.received(50 * round)).slice(50 * (round - 1)))
      expect(replies.map(({ id }) => Number(id))).toEqual(Array.from({ length: 50 }, (_, i) => i))
      const refused = replies.filter(({ code }) => code !== 'OK')
      expect(refused).toHaveLength(10)
      for (const { code, message: why } of refused) {
        expect(code).toBe('RESOURCE_EXHAUSTED')
        expect(why).toMatch(no)
      }
    }
    // Beside it another connection has its own.
    expect(await inFlight('shop', 3)).toEqual(['OK', 'OK', 'OK'])
    await socket.close()
    const list = encodeRequestList(Array.from({ length: 45 }, () => message('slow', { ms: Float32Array.of(5) })))
    const type = { 'content-type': 'application/x-flatbuffers' }
    const { body } = await http(served.server.port, 'POST', '/v1/score', list, { ...type, ...headers })
    expect(body.toString('latin1').match(/MILLRACE_SOCKET_IN_FLIGHT_MAX/g)).toHaveLength(5)
  })
})

test.each(['uws', 'node'])(
  'who takes more than its part of a version leaves the others theirs, on %s',
  async (transport) => {
    const served = await serve({
      MILLRACE_TRANSPORT: transport,
      MILLRACE_TENANTS: file,
      MILLRACE_POOL_CPU_THREADS: '1',
      MILLRACE_STATE_FOLDER: mkdtempSync(join(folder, 'state-')),
    })
    const all = (tenant: string, count: number): Promise<string[]> => {
      const client = served.client({ token: key(tenant) })
      return Promise.all(Array.from({ length: count }, () => saying(client.score(slow(20)))))
    }
    // What a run costs is learnt first: 20 ms, for one row or sixteen of them. Who is alone may have all of it.
    for (const count of [1, 3, 9, 200, 5, 12]) expect(await all('shop', count)).toEqual(Array(count).fill('OK'))
    // Three such runs of sixteen rows are what there is room for.
    await all('other', 1)
    const noisy = all('shop', 400)
    expect((await Promise.all([all('other', 8), all('third', 8)])).flat()).toEqual(Array(16).fill('OK'))
    const said = await noisy
    const no =
      'RESOURCE_EXHAUSTED: slow@1: other tenants ask for it too, and this one holds its part of the rows already ' +
      '(MILLRACE_FAIR_WAIT_MS); send it later'
    expect([...new Set(said)].sort()).toEqual(['OK', no])
    expect(said.filter((one) => one === 'OK').length).toBeLessThan(100)
    await served.idle()
    // Nobody else asks any more.
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect(await all('shop', 200)).toEqual(Array(200).fill('OK'))
  },
)

test.each(['uws', 'node'])('who fills the arena leaves others room, on %s', async (transport) => {
  const served = await serve({
    MILLRACE_TRANSPORT: transport,
    MILLRACE_TENANTS: file,
    MILLRACE_ARENA_BYTES: '4MiB',
    MILLRACE_SLAB_BYTES_MAX: '1MiB',
    MILLRACE_REQUEST_BYTES_MAX: '1MiB',
    MILLRACE_POOL_CPU_THREADS: '1',
    MILLRACE_POOL_CPU_IN_FLIGHT: '1',
    // Not what is looked at here.
    MILLRACE_FAIR_WAIT_MS: '600000',
    MILLRACE_STATE_FOLDER: mkdtempSync(join(folder, 'state-')),
  })
  const large = message('echo', {
    id: BigUint64Array.of(1n),
    tag: 't',
    key: BigUint64Array.of(1n),
    text: ['x'.repeat(100_000)],
  })
  const open = (tenant: string): Promise<RawSocket> =>
    RawSocket.open(served.server.port, { authorization: `Bearer ${key(tenant)}` })
  /** Of all that a socket got; an empty text: it is good. */
  const refusals = async (socket: RawSocket, count: number): Promise<string[]> =>
    repliesById(await socket.received(count)).map(({ message: why }) => why)
  const no = (who: string): string => `${who} holds its part of the arena already (MILLRACE_ARENA_BYTES); send it later`
  const blocker = served.client({ token: key('third') })
  for (const [who, sockets] of [
    ['this connection', 1],
    ['this tenant', 4],
  ] as const) {
    const blocked = blocker.score(slow(1500))
    await until('the thread is busy', async () => (await served.lane()).requestsInFlight === 1 || 'not yet')
    const noisy = await Promise.all(Array.from({ length: sockets }, () => open('shop')))
    for (const socket of noisy) for (let i = 0; i < 40 / sockets; i++) socket.send(large)
    await until('they are refused', () =>
      Promise.resolve(noisy.every(({ messages }) => messages.length > 0) || 'not yet'),
    )
    const other = await open('other')
    for (let i = 0; i < 2; i++) other.send(large)
    expect(await refusals(other, 2)).toEqual(['', ''])
    const said = (await Promise.all(noisy.map((socket) => refusals(socket, 40 / sockets)))).flat()
    const why = new Set(said)
    expect(why).toContain(no(who))
    for (const one of why) expect(['', no('this connection'), no('this tenant')]).toContain(one)
    expect(said.filter((one) => one === '').length).toBeGreaterThan(3)
    await blocked
    await served.idle()
    // All of it is given back.
    const [socket] = noisy
    for (let n = 0; n < 3; n++) socket!.send(large)
    expect((await refusals(socket!, 40 / sockets + 3)).slice(-3)).toEqual(['', '', ''])
    await served.idle()
  }
})

test.each(['uws', 'node'])(
  'WebSockets of a lane, and what a request says beside its inputs, on %s',
  async (transport) => {
    const served = await serve({
      MILLRACE_TRANSPORT: transport,
      MILLRACE_SOCKETS_MAX: '3',
      MILLRACE_CONTEXT_BYTES_MAX: '100',
    })
    const { port } = served.server
    for (let round = 0; round < 2; round++) {
      const sockets = await Promise.all([1, 2, 3].map(() => RawSocket.open(port)))
      await expect(RawSocket.open(port)).rejects.toThrow('429')
      const refused = await saying(served.client().score(slow(0)))
      expect(refused).toBe(
        'RESOURCE_EXHAUSTED: this lane has 3 WebSockets open already (MILLRACE_SOCKETS_MAX); connect later, or to another',
      )
      sockets[0]!.send(message('slow', { ms: Float32Array.of(0) }))
      await sockets[0]!.received(1)
      await Promise.all(sockets.map((socket) => socket.close()))
      await until('they are closed', async () => (await served.lane()).sockets.websocket === 0 || 'not yet')
    }
    const client = served.client({ transport: 'http' })
    const fits = { ...slow(0), subject: 's'.repeat(50), context: { country: 'x'.repeat(43) } }
    expect(await saying(client.score(fits))).toBe('OK')
    const no = 'context: 101 bytes with objective and subject, at most 100 (MILLRACE_CONTEXT_BYTES_MAX)'
    expect(await saying(client.score({ ...fits, subject: 's'.repeat(51) }))).toBe(`INVALID_ARGUMENT: ${no}`)
    expect(await served.json({ objective: 'slow', subject: 's'.repeat(97), inputs: { ms: [0] } })).toMatchObject({
      status: 400,
      body: { message: no },
    })
  },
)

describe.each(['uws', 'node'])('bodies and connections that somebody leaves open, on %s', (transport) => {
  const opened: Socket[] = []
  const open = async (port: number): Promise<{ readonly socket: Socket; readonly said: () => string }> => {
    const socket = connect(port, '127.0.0.1')
    opened.push(socket)
    let text = ''
    socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')))
    // Reset, when it is refused.
    socket.on('error', () => undefined)
    await new Promise((resolve) => socket.once('connect', resolve))
    return { socket, said: () => text }
  }
  afterEach(() => {
    for (const socket of opened.splice(0)) socket.destroy()
  })

  test('of bodies that have arrived in part the largest is refused; the others go on', async () => {
    const served = await serve({
      MILLRACE_TRANSPORT: transport,
      MILLRACE_REQUEST_BYTES_MAX: '1MiB',
      MILLRACE_ARRIVING_BYTES_MAX: '1MiB',
    })
    const { port } = served.server
    const body = JSON.stringify({ objective: 'slow', inputs: { ms: [0] } }).padEnd(400_000)
    const head = `POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
    for (let round = 0; round < 2; round++) {
      const posts = await Promise.all([1, 2, 3].map(() => open(port)))
      // The first has most.
      for (const [i, { socket }] of posts.entries()) socket.write(head + body.slice(0, 390_000 - 5_000 * i))
      await until('one is refused', () =>
        Promise.resolve(posts.some(({ said }) => said().includes('MILLRACE_ARRIVING_BYTES_MAX')) || 'none is'),
      )
      const refused = posts.filter(({ said }) => said() !== '')
      expect(refused.map(({ said }) => said().slice(0, 12))).toEqual(['HTTP/1.1 429'])
      // Who is slow and no more is served, whoever else left.
      for (const [i, { socket, said }] of posts.entries()) {
        if (said() !== '') continue
        socket.write(body.slice(390_000 - 5_000 * i))
        await until('it is answered', () => Promise.resolve(said().startsWith('HTTP/1.1 200') || said()))
      }
    }
  })

  test('connections that are no WebSockets; those that go, or become one, make room', async () => {
    const served = await serve({ MILLRACE_TRANSPORT: transport, MILLRACE_CONNECTIONS_MAX: '3' })
    const { port } = served.server
    const body = JSON.stringify({ objective: 'slow', inputs: { ms: [0] } })
    const post = `POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    /** One that stays open when it is answered; false: it is closed before. */
    const isServed = async (): Promise<boolean> => {
      const { socket, said } = await open(port)
      const gone = new Promise<boolean>((resolve) => socket.once('close', () => resolve(false)))
      const answered = new Promise<boolean>((resolve) => socket.once('data', () => resolve(said().includes(' 200 OK'))))
      socket.write(post)
      return Promise.race([answered, gone])
    }
    for (let round = 0; round < 3; round++) {
      await until('there is room for three', async () => {
        for (const socket of opened.splice(0)) socket.destroy()
        return ((await isServed()) && (await isServed()) && (await isServed())) || 'not yet'
      })
      for (let i = 0; i < 5; i++) expect(await isServed()).toBe(false)
      await expect(RawSocket.open(port)).rejects.toThrow()
      // Through one place go as many WebSockets as there may be: they have a limit of their own.
      opened.shift()!.destroy()
      const sockets: RawSocket[] = []
      await until('there is room for one', () =>
        RawSocket.open(port).then(
          (socket) => sockets.push(socket) > 0 || '',
          () => 'not yet',
        ),
      )
      for (let i = 0; i < 3; i++) sockets.push(await RawSocket.open(port))
      expect([await isServed(), await isServed()]).toEqual([true, false])
      for (const socket of sockets) socket.terminate()
      await until('they are gone', async () => (await served.lane()).sockets.websocket === 0 || 'not yet')
    }
  })
})

test('requests of a list', async () => {
  const served = await serve({ MILLRACE_LIST_ITEMS_MAX: '3' })
  const list = (items: number): Uint8Array =>
    encodeRequestList(Array.from({ length: items }, () => message('slow', { ms: Float32Array.of(0) })))
  const type = { 'content-type': 'application/x-flatbuffers' }
  expect((await http(served.server.port, 'POST', '/v1/score', list(3), type)).status).toBe(200)
  const { status, body } = await http(served.server.port, 'POST', '/v1/score', list(4), type)
  expect([status, body.toString('latin1')]).toEqual([
    400,
    expect.stringContaining('items: 4 requests in one list, at most 3 (MILLRACE_LIST_ITEMS_MAX)'),
  ])
})
