import { toColumn, type InputValue } from '@millrace/client'
import { columnValues } from '@millrace/server'
import {
  codeTable,
  decodeReply,
  encodeRequest,
  replyToJson,
  type ReplyMessage,
  type RequestMessage,
} from '@millrace/wire'
import { columnsToJson, type VersionDescription } from '@millrace/workflow'
import { crashCase, echoCase, imageCase, mlpCases, slowCase, type Case } from '../support/load-cases'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { http, serve, stopServed, type Served } from '../support/served'

/* The JSON twin means what the binary message means: the same fields, codes, messages and statuses. */

const random = new Random()
const flatBuffers = 'application/x-flatbuffers'
let served: Served
let workflows: readonly VersionDescription[]

beforeAll(async () => {
  served = await serve({ MILLRACE_REQUEST_ROWS_MAX: '2000' })
  workflows = (await served.lane()).workflows
})
afterAll(stopServed)

type Json = Readonly<Record<string, unknown>>
type Inputs = Readonly<Record<string, InputValue>>

interface Twins {
  readonly status: number
  readonly json: Json
  /** Of the binary reply, as JSON. */
  readonly twin: Json
}

/** Asks the same in both forms over HTTP; the statuses are the same. */
async function both(json: Json, request: RequestMessage, inputs: Inputs = {}): Promise<Twins> {
  const columns = Object.entries(inputs).map(([name, value]) => toColumn(name, value))
  const binary = await served.post('/v1/score', encodeRequest({ ...request, inputs: columns }), flatBuffers)
  const text = await served.post('/v1/score', JSON.stringify(json))
  expect([binary.status, binary.contentType]).toEqual([text.status, flatBuffers])
  expect(text.contentType).toBe('application/json')
  return {
    status: text.status,
    json: JSON.parse(text.body.toString('utf8')) as Json,
    twin: jsonOf(decodeReply(binary.body)),
  }
}

function jsonOf(reply: ReplyMessage): Json {
  const workflow = workflows.find(({ name }) => name === reply.route?.workflow)
  const scored = reply.code === 'OK' && reply.outputs.length > 0
  const outputs = scored ? columnsToJson(workflow!.signature.outputs, columnValues(reply.outputs)) : null
  // Through text and back, as the other one came.
  return JSON.parse(JSON.stringify(replyToJson(reply, outputs))) as Json
}

test('every workflow: field by field', async () => {
  const cases: Case[] = [
    ...[1, 2, 17].flatMap((rows) => [
      echoCase(random, rows),
      crashCase(random, 'none', rows),
      slowCase(random, rows, 1),
    ]),
    imageCase(random, 2),
    ...(await mlpCases(random, [1, 5])),
  ]
  expect(new Set(cases.map(({ objective }) => objective))).toEqual(new Set(workflows.map(({ name }) => name)))
  for (const { objective, inputs, json } of cases) {
    const fields = {
      id: random.whole(1, 1e9),
      objective,
      subject: 'account-1',
      context: { country: 'US', age: 3, on: true },
    }
    const {
      status,
      json: given,
      twin,
    } = await both(
      { ...fields, inputs: json, deadline_ms: 20_000, priority: 'bulk' },
      { ...fields, id: BigInt(fields.id), deadlineUs: 20_000_000, priority: 'bulk' },
      inputs,
    )
    expect(status).toBe(200)
    expect(given).toEqual(twin)
    expect(given).toMatchObject({
      id: fields.id,
      code: 'OK',
      workflow: objective,
      version: 1,
      rule: 'default',
      cell: null,
    })
  }
})

test('timings when they are asked for, in microseconds', async () => {
  const { json, twin } = await both(
    { objective: 'slow', inputs: { ms: [1] }, timings: true },
    { objective: 'slow', timings: true },
    { ms: Float32Array.of(1) },
  )
  for (const one of [json, twin]) {
    const timings = one['timings_us'] as Record<string, number>
    expect(Object.keys(timings)).toEqual(['queue', 'facts', 'score', 'total'])
    expect(timings['total']).toBeGreaterThanOrEqual(1000)
  }
})

test('ids beyond what a JSON number holds come back as they were sent', async () => {
  const id = '18446744073709551615'
  const { json, twin } = await both(
    { id, objective: 'slow', inputs: { ms: [0] } },
    { id: BigInt(id), objective: 'slow' },
    { ms: Float32Array.of(0) },
  )
  expect([json['id'], twin['id']]).toEqual([id, id])
})

const row: Inputs = { ms: Float32Array.of(0) }
const asked = { objective: 'slow', inputs: { ms: [0] } }
const crash = (how: string): [Json, RequestMessage, Inputs] => [
  { objective: 'crash', inputs: { how, value: [1] } },
  { objective: 'crash' },
  { how, value: Int32Array.of(1) },
]

test.each<[string, Json, RequestMessage, Inputs]>([
  ['NOT_FOUND', { objective: 'nothing', inputs: {} }, { objective: 'nothing' }, {}],
  ['PERMISSION_DENIED', { ...asked, override: { cell: 'a' } }, { objective: 'slow', override: { cell: 'a' } }, row],
  ['FAILED_PRECONDITION', ...crash('refuse')],
  ['INVALID_ARGUMENT', ...crash('unheard of')],
  ['INTERNAL', ...crash('throw')],
  [
    'INVALID_ARGUMENT',
    { objective: 'slow', inputs: { ms: new Array<number>(2001).fill(0) } },
    { objective: 'slow' },
    { ms: new Float32Array(2001) },
  ],
  [
    'DEADLINE_EXCEEDED',
    { objective: 'slow', inputs: { ms: [60] }, deadline_ms: 1 },
    { objective: 'slow', deadlineUs: 1000 },
    { ms: Float32Array.of(60) },
  ],
])('%s: the same code, message and status in both forms', async (code, json, request, inputs) => {
  const { status, json: given, twin } = await both(json, request, inputs)
  expect(status).toBe(codeTable().find(({ name }) => name === code)!.http)
  expect(given['code']).toBe(code)
  expect(given).toEqual(twin)
  expect(given['outputs']).toBeUndefined()
})

test.each<[string, Json, RequestMessage, Inputs]>([
  ['a column that is missing', { objective: 'echo', inputs: {} }, { objective: 'echo' }, {}],
  ['a column too many', { ...asked, inputs: { ms: [0], more: [1] } }, { objective: 'slow' }, { ...row, more: 'x' }],
  ['no inputs', { objective: 'slow' }, { objective: 'slow' }, {}],
])(
  'inputs that do not fit, %s: the same code and the field, each in its own words',
  async (_, json, request, inputs) => {
    const { status, json: given, twin } = await both(json, request, inputs)
    expect([status, given['code'], twin['code']]).toEqual([400, 'INVALID_ARGUMENT', 'INVALID_ARGUMENT'])
    const field = (one: Json): string => String(one['message']).split(':')[0]!
    expect(field(given)).toMatch(/^inputs\.(id|ms|more)$/)
    expect(field(given)).toBe(field(twin))
  },
)

test('a list: each is answered on its own, in order, over HTTP and as text messages', async () => {
  const requests = [
    { id: 1, ...asked },
    { id: 2, objective: 'nothing' },
    { id: 3, ...crash('refuse')[0] },
    { id: 4, objective: 'slow', inputs: { ms: ['x'] } },
    7,
    { id: 6, ...crash('none')[0] },
  ]
  const codes = ['OK', 'NOT_FOUND', 'FAILED_PRECONDITION', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'OK']
  const { status, body } = await served.json(requests)
  expect(status).toBe(200)
  expect((body as Json[]).map(({ code }) => code)).toEqual(codes)
  expect((body as Json[]).map(({ id }) => id)).toEqual([1, 2, 3, 4, undefined, 6])

  const socket = await RawSocket.open(served.server.port)
  socket.send(JSON.stringify(requests))
  const texts = (await socket.received(requests.length)).map((text) => JSON.parse(text as string) as Json)
  const byId = (a: Json, b: Json): number => Number(a['id'] ?? 5) - Number(b['id'] ?? 5)
  const withoutSharing = ({ outputs, ...rest }: Json): Json => ({ ...rest, scored: outputs !== undefined })
  expect([...texts].sort(byId).map(withoutSharing)).toEqual([...(body as Json[])].sort(byId).map(withoutSharing))
  await socket.close()
})

test('a list has its limit, over HTTP and as a text message', async () => {
  const list = `[${new Array<number>(10_001).fill(0).join()}]`
  const refusal = {
    code: 'INVALID_ARGUMENT',
    message: 'items: 10001 requests in one list, at most 10000 (MILLRACE_LIST_ITEMS_MAX)',
  }
  const answer = await served.post('/v1/score', list)
  expect([answer.status, JSON.parse(answer.body.toString('utf8'))]).toEqual([400, refusal])
  const socket = await RawSocket.open(served.server.port)
  socket.send(list)
  expect(JSON.parse((await socket.received(1))[0] as string)).toEqual(refusal)
  await socket.close()
})

test('text and binary messages share a socket', async () => {
  const socket = await RawSocket.open(served.server.port)
  socket.send(JSON.stringify({ id: 1, ...asked }))
  socket.send(encodeRequest({ id: 2n, objective: 'slow', inputs: [toColumn('ms', Float32Array.of(0))] }))
  const replies = await socket.received(2)
  const text = replies.find((one) => typeof one === 'string') as string
  const binary = replies.find((one) => typeof one !== 'string') as Buffer
  expect(JSON.parse(text)).toMatchObject({ id: 1, code: 'OK' })
  expect(decodeReply(binary)).toMatchObject({ id: 2n, code: 'OK' })
  await socket.close()
})

test('resolve: the route and nothing else', async () => {
  const resolve = async (body: unknown): Promise<[number, Json]> => {
    const answer = await served.post('/v1/resolve', JSON.stringify(body))
    return [answer.status, JSON.parse(answer.body.toString('utf8')) as Json]
  }
  const route = {
    ...{ code: 'OK', workflow: 'echo', version: 1, rule: 'default', cell: null, rules_version: 1 },
    ...{ routing_key: 'echo@1', decision: expect.any(String) as string },
  }
  expect(await resolve({ objective: 'echo' })).toEqual([200, route])
  // Inputs are not looked at.
  expect(await resolve({ objective: 'echo', id: 3, inputs: { any: 'thing' } })).toEqual([200, { id: 3, ...route }])
  expect((await served.json({ objective: 'echo', dry_run: true })).body).toEqual(route)
  expect((await resolve({ objective: 'nothing' }))[0]).toBe(404)
  expect((await resolve([{ objective: 'echo' }, { objective: 'nothing' }]))[1]).toMatchObject([
    route,
    { code: 'NOT_FOUND' },
  ])
  const binary = await served.post('/v1/resolve', encodeRequest({ id: 9n, objective: 'echo' }), flatBuffers)
  expect(jsonOf(decodeReply(binary.body))).toEqual({ id: 9, ...route })
  expect(await served.lane()).toMatchObject({ requestsInFlight: 0 })
})

test('content types and paths', async () => {
  const body = JSON.stringify(asked)
  expect((await served.post('/v1/score', body, 'application/json; charset=utf-8')).status).toBe(200)
  for (const type of ['text/plain', 'application/octet-stream', ''])
    expect((await served.post('/v1/score', body, type)).status).toBe(415)
  const refused = await served.post('/v1/score', body, 'text/plain')
  expect(JSON.parse(refused.body.toString('utf8'))).toEqual({
    code: 'INVALID_ARGUMENT',
    message: "content-type: is 'text/plain', must be application/json or application/x-flatbuffers",
  })
  for (const [method, path, status] of [
    ['GET', '/v1/score', 405],
    ['PUT', '/v1/score', 405],
    ['DELETE', '/v1/resolve', 405],
    ['POST', '/v1/scores', 404],
    ['GET', '/', 404],
  ] as const) {
    const answer = await http(served.server.port, method, path)
    expect([method, path, answer.status]).toEqual([method, path, status])
    const { message } = JSON.parse(answer.body.toString('utf8')) as { message: string }
    expect(message).toContain(status === 405 ? `use POST, not ${method}` : 'there are POST /v1/score')
  }
})

test('nothing is left of it', () => served.idle())
