import { elementsPerRow, trafficClasses, type ColumnSpec } from '@millrace/base'
import type { Random } from './random'
import { objectives, type Objective, type Signatures } from './requests'

/* Requests of the JSON twin, right ones, and texts of them that somebody broke. */

export interface ValidJson {
  readonly objective: Objective
  readonly text: string
  /** What workflows that echo answer to it. */
  readonly outputs: Readonly<Record<string, unknown>>
}

export function validJson(signatures: Signatures, random: Random): ValidJson {
  const objective = random.pick(objectives)
  const { inputs, outputs } = signatures[objective]
  const rows = 1 + random.below(4)
  const context = {
    ...(random.once(2) && { country: random.text(5) }),
    ...(random.once(2) && { age: random.below(90) }),
    ...(random.once(2) && { kids: random.once(2) }),
    ...(random.once(2) && { traffic: random.pick(trafficClasses) }),
  }
  const columns = Object.fromEntries(
    inputs.map((spec) => [spec.name, columnOf(spec, spec.per === 'request' ? 1 : rows, random)]),
  )
  const request = {
    id: random.once(2) ? random.below(1000) : String(random.u64()),
    objective,
    ...(random.once(3) && { subject: random.once(2) ? random.text(9) : random.below(1e6) }),
    ...(random.once(2) && { context }),
    inputs: Object.fromEntries(Object.entries(columns).map(([name, { json }]) => [name, json])),
    ...(random.once(4) && { deadline_ms: 60_000 }),
    ...(random.once(4) && { priority: random.pick(['interactive', 'bulk']) }),
    ...(random.once(4) && { timings: true }),
  }
  const said: Readonly<Record<string, unknown>> = {
    ...{ country: base64('none'), age: -1, kids: true, traffic: base64('real') },
    ...(request.context !== undefined &&
      Object.fromEntries(
        Object.entries(context).map(([name, value]) => [name, typeof value === 'string' ? base64(value) : value]),
      )),
  }
  const echoed = outputs.map(({ name }) => [name, name in columns ? columns[name]!.echo : said[name]] as const)
  return { objective, text: JSON.stringify(request), outputs: Object.fromEntries(echoed) }
}

interface Column {
  readonly json: unknown
  readonly echo: unknown
}

function columnOf(spec: ColumnSpec, rows: number, random: Random): Column {
  const values = Array.from({ length: rows }, () => (spec.ragged ? ragged(spec, random) : dense(spec, random)))
  const [json, echo] = [values.map((value) => value.json), values.map((value) => value.echo)]
  return spec.per === 'request' ? { json: json[0], echo: echo[0] } : { json, echo }
}

function dense(spec: ColumnSpec, random: Random): Column {
  const flat = Array.from({ length: elementsPerRow(spec) }, () => element(spec.dtype, random))
  const json = spec.shape.length === 0 ? flat[0] : nested(flat, spec.shape)
  return { json, echo: json }
}

function nested(flat: readonly unknown[], [n, ...inner]: readonly number[]): unknown {
  if (inner.length === 0) return flat
  const step = flat.length / n!
  return Array.from({ length: n! }, (_, i) => nested(flat.slice(i * step, (i + 1) * step), inner))
}

function element(dtype: string, random: Random): unknown {
  if (dtype === 'bool') return random.once(2)
  if (dtype === 'f32' || dtype === 'f64') return random.below(2 ** 20) / 1024
  if (dtype === 'u64' && random.once(2)) return String(2n ** 63n + BigInt(random.u32()))
  return random.below(128)
}

/** Whatever goes in, bytes come out. */
function ragged(spec: ColumnSpec, random: Random): Column {
  if (spec.dtype === 'string') {
    const json = random.text(9)
    return { json, echo: base64(json) }
  }
  if (spec.dtype === 'bytes') {
    const json = Buffer.from(random.bytes(random.below(9))).toString('base64')
    return { json, echo: json }
  }
  const json = Array.from({ length: random.below(5) }, () => random.below(1000))
  const numbers = spec.dtype === 'i32' ? Int32Array.from(json) : Float64Array.from(json)
  return { json, echo: Buffer.from(numbers.buffer).toString('base64') }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

/** The text, broken `times` times at its tokens or between its bytes. */
export function brokenJson(text: string, other: string, times: number, random: Random): Buffer {
  let broken = text
  for (let i = 0; i < times; i++) broken = bent(broken, other, random)
  const bytes = Buffer.from(broken)
  if (times === 0 || bytes.length === 0 || !random.once(4)) return bytes
  if (random.once(2)) return bytes.subarray(0, random.below(bytes.length))
  bytes[random.below(bytes.length)]! ^= 1 << random.below(8)
  return bytes
}

const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d[\d.eE+-]*|true|false|null|[[\]{},]/g

function bent(text: string, other: string, random: Random): string {
  const found = [...text.matchAll(tokens)]
  if (found.length === 0) return text
  const token = random.pick(found)
  const at = token.index
  const end = at + token[0].length
  const instead = (what: string): string => text.slice(0, at) + what + text.slice(end)
  if (random.once(20)) {
    const from = random.below(other.length)
    return text.slice(0, at) + other.slice(from, from + random.below(200)) + text.slice(end)
  }
  if (token[1] !== undefined) {
    const key = random.pick(keys)
    // Renamed, or once more with another value: before it, so that the right one counts, or instead.
    return random.once(2)
      ? instead(`${key}:`)
      : instead(`${random.once(2) ? token[0] : `${key}:`}${random.pick(values)},${token[0]}`)
  }
  if (token[0] === '{' && random.once(2)) return instead(`{${random.pick(keys)}:${random.pick(values)},`)
  if (/^[[\]{},]$/.test(token[0])) return instead(random.pick(['', '[', ']', '{', '}', ',', '[[', '{"a":']))
  return instead(random.pick(values))
}

const keys = [
  ...['"__proto__"', '"constructor"', '"prototype"', '"toString"', '"hasOwnProperty"', '"length"', '""'],
  ...['"\\ud800"', '"\\u0000"', '"id"', '"inputs"', '"context"', '"override"', '"decision"', '"dry_run"', '"base64"'],
]

const deep = (n: number, begin: string, end: string): string => begin.repeat(n) + end.repeat(n)

const values = [
  ...['1e999', '-1e999', '1e-999', '-0', '0.1', '-1', '255', '256', '65536', '2147483648', '4294967296'],
  ...['9007199254740992', '9007199254740993', '18446744073709551615', '123456789012345678901234567890'],
  ...['"18446744073709551615"', '"18446744073709551616"', '"-1"', '"1e3"', '"99999999999999999999"'],
  ...['"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '""', '"\\uffff"', `"${'x'.repeat(3000)}"`],
  ...['null', 'true', 'false', '[]', '{}', '[[]]', '[null]', '[{}]', '{"a":1}'],
  ...['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '["__proto__"]'],
  ...['{"base64":"AAAA"}', '{"base64":"AAA="}', '{"base64":"AA=A"}', '{"base64":"@@@@"}', '{"base64":5}'],
  ...['{"base64":"AAAA","more":1}', '{"base64":""}', '"AA"', '"AAAA"', '"=AAA"', '"Ā/=="'],
  ...[deep(100, '[', ']'), deep(5000, '[', ']'), deep(2000, '{"a":', '}').replace('}', '1}'), deep(3000, '[', '')],
]
