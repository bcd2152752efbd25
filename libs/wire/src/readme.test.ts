import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Code, dtypeBytes, DType, fnv1a64, isRaggedDType, Strings, type DTypeName, type U64 } from '@millrace/base'
import { encodeRequest } from './encode'
import { codeTable } from './http-status'
import { parseJson, replyToJson, requestFromJson } from './json'
import { denseColumn, raggedColumn, type ReplyMessage } from './message'
import { RequestView, textAt } from './request-view'
import { verifyRequest } from './verify'

// What others write their clients by is what this room does.
const readme = readFileSync(join(__dirname, '../README.md'), 'utf8')
const blocks = (language: string): string[] =>
  [...readme.matchAll(/^```(.*)\n([^]*?)^```$/gm)].filter((block) => block[1] === language).map((block) => block[2]!)
const rows = (pattern: RegExp): string[][] => [...readme.matchAll(pattern)].map((match) => match.slice(1))

test('the bytes of its request', () => {
  const lines = blocks('')[0]!.trimEnd().split('\n')
  let next = 0
  const bytes = lines.flatMap((line) => {
    const [, at, hex] = /^([0-9a-f]{4}) {2}((?:[0-9a-f]{2} )+)/.exec(line)!
    expect(parseInt(at!, 16)).toBe(next)
    const read = [...Buffer.from(hex!.replaceAll(' ', ''), 'hex')]
    next += read.length
    return read
  })
  const inputs = [
    denseColumn('x', 'f32', Float32Array.of(1, 0.5)),
    raggedColumn('t', 'string', Strings.of(['ab', 'c'])),
  ]
  expect(bytes).toEqual([...encodeRequest({ id: 7n, objective: 'price', subject: 'a-42', inputs, deadlineUs: 50_000 })])
  const view = new RequestView()
  expect(verifyRequest(Uint8Array.from(bytes).buffer, 0, bytes.length, view)).toBe(true)
  // The positions that the text beside the bytes names: a vector's first byte is behind its length.
  expect({ ...view }).toMatchObject({ idLo: 7, deadlineUs: 50_000, subjectBegin: 0xd4, objectiveBegin: 0xe0 })
  expect([...view.dataBegin.subarray(0, 2)]).toEqual([0xc8, 0x90])
  expect([...view.offsetsBegin.subarray(0, 2)]).toEqual([0, 0x80])
  expect([...view.shapeBegin.subarray(0, 2)]).toEqual([0xc0, 0x78])
  expect(textAt(view, view.nameBegin[1]!, view.nameLength[1]!)).toBe('t')
})

test('its codes', () => {
  const table = rows(/^\| (\d+) +\| `([A-Z_]+)` +\| (\d{3}) /gm)
  expect(table.map(([code, name, http]) => ({ code: Number(code), name, http: Number(http) }))).toEqual(codeTable())
})

test('its dtypes', () => {
  const table = rows(/([a-z]+\d*) +\| (\d+) +\| (\d|ragged)(?: +\||, 0 or 1)/g).filter(([name]) =>
    Object.hasOwn(DType, name!),
  )
  expect(table).toHaveLength(Object.keys(DType).length)
  for (const [name, number, bytes] of table as [DTypeName, string, string][]) {
    expect(DType[name]).toBe(Number(number))
    expect(bytes).toBe(isRaggedDType(name) ? 'ragged' : String(dtypeBytes[DType[name]]))
  }
})

test('its hashes', () => {
  const table = rows(/^\| (?:`([^`]+)`)? +\| `([0-9a-f]{16})` \|$/gm)
  expect(table).toHaveLength(5)
  for (const [name, hash] of table) {
    const bytes = Buffer.from(name ?? '')
    const out: U64 = { lo: 0, hi: 0 }
    fnv1a64(bytes, 0, bytes.length, out)
    expect(((BigInt(out.hi) << 32n) | BigInt(out.lo)).toString(16).padStart(16, '0')).toBe(hash)
  }
})

test('its JSON', () => {
  const [request, reply, refusal] = blocks('json').map(parseJson) as [unknown, never, never]
  expect(requestFromJson(request).request).toMatchObject({ id: 7n, deadlineUs: 50_000, timings: true })
  const { outputs, timings_us, ...routed } = reply as Record<string, unknown>
  const message: ReplyMessage = {
    ...{ id: 7n, code: 'OK', message: '', outputs: [] },
    route: { workflow: 'price', version: 2, rule: 'default', cell: null, rulesVersion: 1 },
    timings: timings_us as ReplyMessage['timings'],
  }
  expect(replyToJson(message, outputs as Record<string, unknown>)).toEqual({ ...routed, outputs, timings_us })
  const { message: why } = refusal as { message: string }
  const refused: ReplyMessage = { ...message, code: 'NOT_FOUND', message: why, route: null, timings: null }
  expect(replyToJson(refused, null)).toEqual(refusal)
  expect(Code.NOT_FOUND).toBe(5)
})
