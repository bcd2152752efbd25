import { Code, codeNames, DType, Refusal, seededRandom, type CodeName } from '@millrace/base'
import fc from 'fast-check'
import { broken, columns, requests, texts, u32s, u64s } from '../test/messages'
import { decodeReply, decodeReplyList, replyId, replyPlaces } from './decode'
import { encodeReply, encodeReplyList, encodeRequest } from './encode'
import * as generated from './generated/code'
import * as generatedDType from './generated/dtype'
import { codeTable, httpStatus } from './http-status'
import { parseJson, replyToJson, requestFromJson } from './json'
import { denseColumn, rowsOf, type ReplyMessage, type RequestMessage, type WireColumn } from './message'
import { overrideForms } from './verify'

const seed = Number(process.env.FUZZ_SEED ?? 1)
const runs = Number(process.env.FUZZ_RUNS ?? 20_000)

const routes = fc.record({
  workflow: texts,
  version: u32s,
  rule: texts,
  cell: fc.option(texts),
  rulesVersion: u32s,
})
const replies: fc.Arbitrary<ReplyMessage> = fc.record({
  id: u64s,
  code: fc.constantFrom(...codeNames),
  message: texts,
  route: fc.option(routes),
  outputs: fc.array(columns, { maxLength: 4 }),
  timings: fc.option(fc.record({ queue: u32s, facts: u32s, score: u32s, total: u32s })),
  resolved: fc.option(
    fc.record({ routingKey: texts, decision: fc.option(fc.uint8Array({ minLength: 1, maxLength: 80 })) }),
    { nil: undefined },
  ),
})

/** As it is read: a shape that was left out is empty, bytes are plain. */
function asRead(reply: ReplyMessage): ReplyMessage {
  const outputs = reply.outputs.map((column) => ({ ...column, shape: column.shape ?? [] }))
  return { ...reply, outputs }
}

describe('a reply', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(replies, (reply) => {
        const message = encodeReply(reply)
        expect(decodeReply(message)).toEqual(asRead(reply))
        expect(replyId(message)).toBe(reply.id)
        expect(message.length % 4).toBe(0)
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('is read as it was written, among others in a list', () => {
    fc.assert(
      fc.property(fc.array(replies, { maxLength: 8 }), (values) => {
        const list = decodeReplyList(encodeReplyList(values.map(encodeReply)))
        expect(list.map(decodeReply)).toEqual(values.map(asRead))
      }),
      { seed: seed + 1, numRuns: 200 },
    )
  })

  test('is read wherever it lies, and outlives what it was read from', () => {
    const reply: ReplyMessage = {
      ...{ id: 7n, code: 'OK', message: '', timings: null },
      route: { workflow: 'price', version: 3, rule: 'default', cell: null, rulesVersion: 1 },
      outputs: [denseColumn('score', 'f32', Float32Array.of(0.5, 0.25))],
    }
    const message = encodeReply(reply)
    for (let begin = 0; begin < 8; begin++) {
      const buffer = new Uint8Array(begin + message.length + 8).fill(0xee)
      buffer.set(message, begin)
      const decoded = decodeReply(buffer.subarray(begin, begin + message.length))
      buffer.fill(0xff)
      expect(decoded).toEqual(asRead({ ...reply, outputs: reply.outputs.map(plain) }))
      expect(decoded.outputs[0]!.data.byteOffset % 8).toBe(0)
    }
  })

  test('has its places where they are patched', () => {
    fc.assert(
      fc.property(replies, u64s, (reply, id) => {
        const message = new Uint8Array(encodeReply({ ...reply, id: 1n }))
        const view = new DataView(message.buffer)
        const places = replyPlaces(message)
        const timings = [1, 2, 3, 4]
        view.setBigUint64(places.id, id, true)
        if (places.timings >= 0) timings.forEach((us, i) => view.setUint32(places.timings + 4 * i, us, true))
        places.data.forEach((begin, i) => message.fill(i + 1, begin, begin + reply.outputs[i]!.data.length))
        expect(places.timings >= 0).toBe(reply.timings !== null)
        expect(places.data.every((begin) => begin % 8 === 0)).toBe(true)
        expect(decodeReply(message)).toEqual(
          asRead({
            ...reply,
            id,
            timings: reply.timings && { queue: 1, facts: 2, score: 3, total: 4 },
            outputs: reply.outputs.map((output, i) => ({
              ...output,
              data: new Uint8Array(output.data.length).fill(i + 1),
            })),
          }),
        )
      }),
      { seed: seed + 2, numRuns: 500 },
    )
  })

  test('without an id has no place for one', () => {
    const empty = { id: 0n, code: 'OK', message: '', route: null, outputs: [], timings: null } as const
    expect(replyPlaces(encodeReply(empty))).toEqual({ id: -1, data: [], timings: -1 })
  })
})

function plain(column: WireColumn): WireColumn {
  return { ...column, data: new Uint8Array(column.data) }
}

describe('a reply that somebody broke', () => {
  /** Every byte of a decoded reply lies in memory of its own, no longer than the message. */
  function expectOwn(reply: ReplyMessage, mutant: Uint8Array): void {
    for (const { data, offsets, shape } of reply.outputs) {
      for (const part of offsets === undefined ? [data] : [data, offsets])
        if (part.buffer === mutant.buffer || part.buffer.byteLength > mutant.length)
          throw new Error(`${part.byteLength} bytes of a buffer of ${part.buffer.byteLength}`)
      if ((shape ?? []).length * 4 > mutant.length) throw new Error('more dimensions than bytes')
    }
  }

  function decodedOr<T>(read: () => T): T | null {
    try {
      return read()
    } catch (error) {
      if (error instanceof Refusal && error.code === Code.DATA_LOSS) return null
      throw error
    }
  }

  test(`is DATA_LOSS or a reply of its own bytes (FUZZ_RUNS=${runs}, FUZZ_SEED=${seed})`, () => {
    const corpus = fc.sample(replies, { seed, numRuns: 300 }).map(encodeReply)
    const next = seededRandom(seed)
    const pick = (): Uint8Array => corpus[Math.floor(next() * corpus.length)]!
    const count = { read: 0, lost: 0 }
    for (let run = 0; run < runs; run++) {
      const mutant = broken(pick(), pick(), next)
      try {
        // The same bytes at the begin of two different neighbourhoods.
        const [one, other] = [0x00, 0xff].map((poison) => {
          const buffer = new Uint8Array(64 + mutant.length + 1024).fill(poison)
          buffer.set(mutant, 64)
          const message = buffer.subarray(64, 64 + mutant.length)
          const reply = decodedOr(() => decodeReply(message))
          if (reply !== null) expectOwn(reply, message)
          decodedOr(() => replyId(message))
          return reply
        })
        expect(one).toEqual(other)
        count[one === null ? 'lost' : 'read']++
      } catch (error) {
        throw new Error(`FUZZ_SEED=${seed}, mutant ${run}: ${(error as Error).stack}\n${mutant.toString('hex')}`)
      }
    }
    expect(count.read).toBeGreaterThan(runs / 20)
    expect(count.lost).toBeGreaterThan(runs / 20)
  })

  test(`likewise in a list (FUZZ_SEED=${seed})`, () => {
    const corpus = fc.sample(replies, { seed, numRuns: 100 }).map(encodeReply)
    const next = seededRandom(seed + 1)
    const pick = (): Uint8Array => corpus[Math.floor(next() * corpus.length)]!
    let read = 0
    for (let run = 0; run < runs / 4; run++) {
      const mutant = broken(encodeReplyList([pick(), pick(), pick()]), pick(), next)
      const list = decodedOr(() => decodeReplyList(mutant))
      if (list === null) continue
      read++
      for (const item of list) {
        if (item.buffer === mutant.buffer) throw new Error('an item of the caller’s memory')
        decodedOr(() => decodeReply(item))
      }
    }
    expect(read).toBeGreaterThan(runs / 40)
  })

  test.each([0x7fffffff, 0xffffffff, 50_000_000, 3])('a shape of forged length %i ends at once', (length) => {
    const message = new Uint8Array(
      encodeReply({
        ...{ id: 1n, code: 'OK', message: '', route: null, timings: null },
        outputs: [{ name: 'score', dtype: 'f32', shape: [0xabcdef], data: Uint8Array.of(1, 2, 3, 4) }],
      }),
    )
    const shape = Buffer.from(message.buffer).indexOf(Buffer.of(0xef, 0xcd, 0xab, 0))
    new DataView(message.buffer).setUint32(shape - 4, length, true)
    if (length === 3) expect(decodeReply(message).outputs[0]!.shape).toHaveLength(3)
    else expect(() => decodeReply(message)).toThrow('the bytes are not a reply')
  })

  test('a shape of more dimensions than a request may have is DATA_LOSS', () => {
    const output = { name: 'score', dtype: 'f32', data: Uint8Array.of(1, 2, 3, 4) } as const
    const of = (dimensions: number): Uint8Array =>
      encodeReply({
        ...{ id: 1n, code: 'OK', message: '', route: null, timings: null },
        outputs: [{ ...output, shape: new Array<number>(dimensions).fill(1) }],
      })
    expect(decodeReply(of(8)).outputs[0]!.shape).toHaveLength(8)
    expect(() => decodeReply(of(9))).toThrow('a shape of 9 dimensions, at most 8')
  })

  test.each<[string, Uint8Array]>([
    ['nothing', Uint8Array.of()],
    ['eight bytes', new Uint8Array(8)],
    ['zeros', new Uint8Array(64)],
    ['text', Buffer.from('<html><body>Bad Gateway</body></html>')],
    ['a request', encodeRequest({ id: 1n, objective: 'price' })],
  ])('%s is no reply and no list of replies', (_, bytes) => {
    expect(() => decodeReply(bytes)).toThrow('the bytes are not a reply: the file identifier is not MRRP')
    expect(() => decodeReplyList(bytes)).toThrow('the bytes are not a list of replies: the file identifier is not MRPL')
    expect(decodedOr(() => decodeReply(bytes))).toBeNull()
  })

  test('an unknown code is UNKNOWN, an unknown dtype is DATA_LOSS', () => {
    const message = new Uint8Array(
      encodeReply({ ...{ id: 0n, message: '', route: null, timings: null }, code: 'UNAUTHENTICATED', outputs: [] }),
    )
    message[message.lastIndexOf(Code.UNAUTHENTICATED)] = 77
    expect(decodeReply(message).code).toBe('UNKNOWN')
    const none = encodeReply({
      ...{ id: 0n, code: 'OK', message: '', route: null, timings: null },
      outputs: [{ name: 'a', dtype: 'none' as 'f32', data: new Uint8Array(4) }],
    })
    expect(() => decodeReply(none)).toThrow('0 is not a dtype')
  })
})

describe('numbers of the schema', () => {
  test('codes and dtypes are those of libs/base', () => {
    const camel = (name: string): string =>
      name
        .split('_')
        .map((word) => word[0] + word.slice(1).toLowerCase())
        .join('')
    for (const [name, code] of Object.entries(Code)) expect(generated.Code[code]).toBe(camel(name))
    expect(Object.keys(generated.Code)).toHaveLength(2 * codeNames.length)
    for (const [name, dtype] of Object.entries(DType)) expect(generatedDType.DType[dtype]!.toLowerCase()).toBe(name)
    expect(Object.keys(generatedDType.DType)).toHaveLength(2 * (Object.keys(DType).length + 1))
  })

  test('every code has its HTTP status', () => {
    const expected: Record<CodeName, number> = {
      OK: 200,
      CANCELLED: 499,
      UNKNOWN: 500,
      INVALID_ARGUMENT: 400,
      DEADLINE_EXCEEDED: 504,
      NOT_FOUND: 404,
      ALREADY_EXISTS: 409,
      PERMISSION_DENIED: 403,
      RESOURCE_EXHAUSTED: 429,
      FAILED_PRECONDITION: 400,
      ABORTED: 409,
      OUT_OF_RANGE: 400,
      UNIMPLEMENTED: 501,
      INTERNAL: 500,
      UNAVAILABLE: 503,
      DATA_LOSS: 500,
      UNAUTHENTICATED: 401,
    }
    expect(codeTable()).toEqual(
      Object.entries(expected).map(([name, http]) => ({ code: Code[name as CodeName], name, http })),
    )
    expect(httpStatus).toHaveLength(codeNames.length)
    for (const status of httpStatus) expect(status).toMatch(/^\d{3} [A-Z][A-Za-z ]+$/)
  })
})

test('rows follow from the bytes', () => {
  fc.assert(
    fc.property(fc.nat(20), fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 }), (rows, shape) => {
      const width = shape.reduce((product, n) => product * n, 1)
      const column = denseColumn('a', 'i16', new Int16Array(rows * width), shape)
      expect(column.shape).toEqual([rows, ...shape])
      expect(rowsOf(column)).toBe(rows)
    }),
    { seed },
  )
  expect(rowsOf({ name: 'a', dtype: 'string', data: new Uint8Array(3), offsets: Uint32Array.of(0, 1, 1, 3) })).toBe(3)
})

describe('a request as JSON', () => {
  const request = (text: string): RequestMessage => {
    const { request } = requestFromJson(parseJson(text))
    return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined))
  }

  test.each<[string, RequestMessage]>([
    ['{}', {}],
    ['{"objective":"price"}', { objective: 'price' }],
    ['{"objective":"a","objective":"b"}', { objective: 'b' }],
    ['{"id":7}', { id: 7n }],
    ['{"id":"18446744073709551615"}', { id: 2n ** 64n - 1n }],
    ['{"id":9007199254740991}', { id: 2n ** 53n - 1n }],
    ['{"objective_hash":"9641450574389553512"}', { objectiveHash: 9641450574389553512n }],
    ['{"subject":"account-42"}', { subject: 'account-42' }],
    ['{"subject":""}', { subject: '' }],
    ['{"subject":42}', { subject: 42n }],
    ['{"context":{"country":"US","age":42.5,"kids":false}}', { context: { country: 'US', age: 42.5, kids: false } }],
    ['{"context":{"constructor":"a","toString":1}}', { context: { constructor: 'a', toString: 1 } as never }],
    ['{"deadline_ms":50}', { deadlineUs: 50_000 }],
    ['{"deadline_ms":0.0001}', { deadlineUs: 1 }],
    ['{"deadline_ms":4294967}', { deadlineUs: 4_294_967_000 }],
    ['{"priority":"bulk"}', { priority: 'bulk' }],
    ['{"override":{"workflow":"a","version":4294967295}}', { override: { workflow: 'a', version: 0xffffffff } }],
    ['{"override":{"cell":"a","experiment":"b"}}', { override: { cell: 'a', experiment: 'b' } }],
    ['{"timings":true,"dry_run":false}', { timings: true, dryRun: false }],
  ])('%s', (text, message) => {
    expect(request(text)).toEqual(message)
    expect(() => encodeRequest(request(text))).not.toThrow()
  })

  const u64 = 'must be a whole number from 0 to 2^53 - 1, or the digits of one up to 2^64 - 1 as text'
  test.each<[string, string]>([
    ['', 'the body is not JSON: Unexpected end of JSON input'],
    ['{', 'the body is not JSON: '],
    ['{"id":1}{', 'the body is not JSON: '],
    ['\ufeff{}', 'the body is not JSON: '],
    ['null', 'request: Invalid input: expected object, received null'],
    ['7', 'request: Invalid input: expected object, received number'],
    ['[]', 'request: Invalid input: expected object, received array'],
    ['{"objectiv":"price"}', 'request: Unrecognized key: "objectiv"'],
    ['{"__proto__":{"objective":"price"}}', 'request: Unrecognized key: "__proto__"'],
    ['{"constructor":{}}', 'request: Unrecognized key: "constructor"'],
    ['{"objective":""}', 'objective: Too small'],
    ['{"objective":7}', 'objective: Invalid input: expected string, received number'],
    ['{"id":-1}', `id: ${u64}`],
    ['{"id":1.5}', `id: ${u64}`],
    ['{"id":1e300}', `id: ${u64}`],
    ['{"id":9007199254740993}', `id: ${u64}`],
    ['{"id":true}', `id: ${u64}`],
    ['{"id":"0x10"}', `id: ${u64}`],
    ['{"id":"18446744073709551616"}', `id: ${u64}`],
    ['{"id":"184467440737095516150"}', `id: ${u64}`],
    ['{"objective_hash":"af63dc4c8601ec8c"}', `objective_hash: ${u64}`],
    ['{"subject":-1}', 'subject: Too small: expected number to be >=0'],
    ['{"subject":18446744073709551615}', 'subject: Too big: expected int to be <=9007199254740991'],
    ['{"subject":1.5}', 'subject: must be text or a whole number from 0 to 2^53 - 1'],
    ['{"subject":null}', 'subject: must be text or a whole number from 0 to 2^53 - 1'],
    ['{"context":[]}', 'context: Invalid input: expected record, received array'],
    ['{"context":{"country":null}}', 'context.country: must be text, a finite number, true or false'],
    ['{"context":{"country":["US"]}}', 'context.country: must be text, a finite number, true or false'],
    ['{"context":{"age":1e999}}', 'context.age: must be text, a finite number, true or false'],
    ['{"inputs":[]}', 'inputs: Invalid input: expected record, received array'],
    ['{"deadline_ms":0}', 'deadline_ms: Too small'],
    ['{"deadline_ms":4294968}', 'deadline_ms: Too big'],
    ['{"deadline_ms":"50"}', 'deadline_ms: Invalid input: expected number, received string'],
    ['{"priority":"high"}', 'priority: Invalid option: expected one of "interactive"|"bulk"'],
    ['{"override":{"version":0}}', 'override.version: Too small'],
    ['{"override":{"experiment":"a"}}', `override: ${overrideForms}`],
    ['{"override":{"workflow":"a","version":1,"cell":"b"}}', `override: ${overrideForms}`],
    ['{"override":{"workflow":"a"}}', `override: ${overrideForms}`],
    ['{"decision":"?"}', 'decision: must be base64, as a resolve answered it'],
    ['{"override":{"subject":"a"}}', 'override: Unrecognized key: "subject"'],
    ['{"timings":1}', 'timings: Invalid input: expected boolean, received number'],
    ['{"dry_run":"yes"}', 'dry_run: Invalid input: expected boolean, received string'],
  ])('%s is refused', (text, message) => {
    let refusal: unknown
    try {
      request(text)
    } catch (error) {
      refusal = error
    }
    expect(refusal).toBeInstanceOf(Refusal)
    expect((refusal as Refusal).name).toBe('INVALID_ARGUMENT')
    expect((refusal as Refusal).message.slice(0, message.length)).toBe(message)
  })

  test('keys that are names of a prototype pollute nothing', () => {
    const text = `{"objective":"a","context":{"__proto__":"x","constructor":"y"},
      "inputs":{"__proto__":{"polluted":true},"constructor":[1],"prototype":[2]}}`
    const { request, inputs } = requestFromJson(parseJson(text))
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    expect((inputs as Record<string, unknown>).polluted).toBeUndefined()
    expect(Object.entries(inputs)).toEqual([
      ['constructor', [1]],
      ['prototype', [2]],
    ])
    expect(Object.entries(request.context!)).toEqual([['constructor', 'y']])
    expect(() => encodeRequest(request)).not.toThrow()
  })

  test('as deep as the body is long is taken or refused, not crashed by', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000)
    expect(Object.keys(requestFromJson(parseJson(`{"inputs":{"a":${deep}}}`)).inputs)).toEqual(['a'])
    expect(() => request(`{"context":{"a":${deep}}}`)).toThrow('context.a: ')
    expect(() => request(deep)).toThrow('expected object, received array')
    expect(() => request('{"override":'.repeat(100_000) + '1' + '}'.repeat(100_000))).toThrow('override: ')
  })

  test('lone surrogates become replacement characters on the wire', () => {
    const { request } = requestFromJson(parseJson('{"subject":"a\\ud800b","context":{"\\udfff":"\\ud83d"}}'))
    const bytes = Buffer.from(encodeRequest(request))
    expect(bytes.includes('a\ufffdb')).toBe(true)
    expect(bytes.includes(Buffer.of(0xed, 0xa0, 0x80))).toBe(false)
  })

  test('any JSON at all is a request or INVALID_ARGUMENT', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        try {
          request(text)
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal)
          expect((error as Refusal).code).toBe(Code.INVALID_ARGUMENT)
        }
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('every request that has a JSON twin means the same', () => {
    const finite = requests.filter(
      ({ objective, context, deadlineUs }) =>
        objective !== '' &&
        deadlineUs !== 0 &&
        Object.entries(context ?? {}).every(
          ([name, value]) => name !== '__proto__' && (typeof value !== 'number' || Number.isFinite(value)),
        ),
    )
    fc.assert(
      fc.property(finite, ({ inputs: _, ...message }) => {
        const { deadlineUs, subject } = message
        fc.pre((deadlineUs ?? 0) <= 4_294_967_000 && (typeof subject !== 'bigint' || subject < 2n ** 53n))
        const json = {
          id: message.id === undefined ? undefined : String(message.id),
          objective: message.objective,
          objective_hash: message.objectiveHash === undefined ? undefined : String(message.objectiveHash),
          subject: typeof subject === 'bigint' ? Number(subject) : subject,
          context: message.context,
          deadline_ms: deadlineUs === undefined ? undefined : deadlineUs / 1000,
          priority: message.priority,
          override: message.override,
          timings: message.timings,
          dry_run: message.dryRun,
          decision: message.decision === undefined ? undefined : Buffer.from(message.decision).toString('base64'),
        }
        const twin = requestFromJson(parseJson(JSON.stringify(json))).request
        expect(Buffer.from(encodeRequest(twin)).equals(encodeRequest(message))).toBe(true)
      }),
      { seed, numRuns: 500 },
    )
  })
})

describe('a reply as JSON', () => {
  const reply: ReplyMessage = {
    id: 7n,
    code: 'OK',
    message: '',
    route: { workflow: 'price', version: 2, rule: 'price-model', cell: 'treatment', rulesVersion: 3 },
    outputs: [],
    timings: { queue: 1, facts: 2, score: 3, total: 6 },
  }

  test('has what there is to say', () => {
    expect(replyToJson(reply, { score: [0.5] })).toEqual({
      ...{ id: 7, code: 'OK', workflow: 'price', version: 2, rule: 'price-model', cell: 'treatment', rules_version: 3 },
      outputs: { score: [0.5] },
      timings_us: { queue: 1, facts: 2, score: 3, total: 6 },
    })
  })

  test('of a dry run has its routing key and its decision', () => {
    const decision = Uint8Array.of(1, 2, 255)
    const json = replyToJson({ ...reply, resolved: { routingKey: 'price@2', decision } }, null)
    expect(json).toMatchObject({ routing_key: 'price@2', decision: 'AQL/' })
    expect(requestFromJson({ decision: json.decision }).request.decision).toEqual(Buffer.from(decision))
    expect(replyToJson({ ...reply, resolved: { routingKey: 'price@2', decision: null } }, null)).not.toHaveProperty(
      'decision',
    )
  })

  test('leaves out what there is not', () => {
    const refused: ReplyMessage = { ...reply, id: 0n, code: 'NOT_FOUND', message: 'no', route: null, timings: null }
    expect(replyToJson(refused, null)).toEqual({ code: 'NOT_FOUND', message: 'no' })
    expect(replyToJson({ ...reply, route: { ...reply.route!, cell: null } }, null).cell).toBeNull()
  })

  test.each<[bigint, unknown]>([
    [2n ** 53n - 1n, 2 ** 53 - 1],
    [2n ** 53n, '9007199254740992'],
    [2n ** 64n - 1n, '18446744073709551615'],
  ])('has the id %s exactly', (id, expected) => {
    const json = JSON.parse(JSON.stringify(replyToJson({ ...reply, id }, null))) as Record<string, unknown>
    expect(json.id).toBe(expected)
  })
})
