import {
  columnsMax,
  contextMax,
  DType,
  seededRandom,
  Strings,
  type AttributeValue,
  type Signature,
} from '@millrace/base'
import fc from 'fast-check'
import { ByteBuffer } from 'flatbuffers'
import { byTheBook, numbersOf, wholeOf } from '../test/by-the-book'
import { broken, fittings, requests, Slab } from '../test/messages'
import { encodeRequest, encodeRequestList } from './encode'
import { Attribute } from './generated/attribute'
import { AttributeKind } from './generated/attribute-kind'
import { Flag } from './generated/flag'
import { Override } from './generated/override'
import { Request } from './generated/request'
import { copyInputs, heapBytesOf, intakeOf, Matched, matchInputs, type Intake } from './intake'
import { denseColumn, raggedColumn, type OverrideMessage, type RequestMessage } from './message'
import { contextOf, describeFault, overrideOf, RequestView, textAt } from './request-view'
import { ListView, overrideForms, verifyList, verifyRequest } from './verify'

const seed = Number(process.env.FUZZ_SEED ?? 1)
const runs = Number(process.env.FUZZ_RUNS ?? 20_000)

/** Verifies a copy of the message in a buffer of its own. */
function verified(message: Uint8Array): RequestView {
  const view = new RequestView()
  const { buffer } = new Uint8Array(message)
  if (!verifyRequest(buffer, 0, message.length, view)) throw new Error(describeFault(view))
  return view
}

describe('a request that was encoded', () => {
  test('verifies, and its positions read back what was written', () => {
    fc.assert(
      fc.property(requests, (request) => {
        expect(readBack(verified(encodeRequest(request)))).toEqual(asWritten(request))
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('is found where the generated accessors find it', () => {
    fc.assert(
      fc.property(requests, (request) => {
        const message = encodeRequest(request)
        expect(readBack(verified(message))).toEqual(readByAccessors(message))
      }),
      { seed: seed + 1, numRuns: 500 },
    )
  })

  test('is found by the book as the verifier finds it', () => {
    fc.assert(
      fc.property(requests, (request) => {
        const message = encodeRequest(request)
        expect(numbersOf(verified(message))).toEqual(byTheBook(message))
      }),
      { seed: seed + 2, numRuns: 500 },
    )
  })

  test('verifies at every base of whole words, and at no other', () => {
    const message = encodeRequest({ id: 7n, objective: 'price' })
    for (let base = 0; base < 16; base++) {
      const buffer = new ArrayBuffer(base + message.length)
      new Uint8Array(buffer, base).set(message)
      const view = new RequestView()
      expect(verifyRequest(buffer, base, message.length, view)).toBe(base % 4 === 0)
      if (base % 4 === 0) expect(textAt(view, view.objectiveBegin, view.objectiveLength)).toBe('price')
      else expect(describeFault(view)).toContain('is not a FlatBuffer')
    }
  })

  test('leaves nothing of the request that the view held before', () => {
    fc.assert(
      fc.property(requests, requests, (first, second) => {
        const view = new RequestView()
        for (const request of [first, second]) {
          const { buffer, byteLength } = new Uint8Array(encodeRequest(request))
          expect(verifyRequest(buffer, 0, byteLength, view)).toBe(true)
        }
        expect(readBack(view)).toEqual(asWritten(second))
      }),
      { seed: seed + 3, numRuns: 300 },
    )
  })

  test('may have as many columns and attributes as are allowed, and not one more', () => {
    const column = denseColumn('a', 'u8', Uint8Array.of(1))
    const attributes = (n: number): Record<string, number> =>
      Object.fromEntries(Array.from({ length: n }, (_, i) => [`a${i}`, i]))
    const full = { inputs: Array.from({ length: columnsMax }, () => column), context: attributes(contextMax) }
    expect(verified(encodeRequest(full))).toMatchObject({ inputCount: 64, contextCount: 64 })
    expect(() => verified(encodeRequest({ inputs: [...full.inputs, column] }))).toThrow(
      'inputs: 65 columns, at most 64',
    )
    expect(() => verified(encodeRequest({ context: attributes(65) }))).toThrow('context: 65 attributes, at most 64')
    const deep = { ...column, shape: [1, 1, 1, 1, 1, 1, 1, 1] }
    expect(verified(encodeRequest({ inputs: [deep] })).shapeLength[0]).toBe(8)
    expect(() => verified(encodeRequest({ inputs: [column, { ...deep, shape: [...deep.shape, 1] }] }))).toThrow(
      'inputs[1].shape: 9 dimensions, at most 8',
    )
  })
})

interface Plain {
  readonly id: bigint
  readonly objective: string | null
  readonly objectiveHash: bigint
  readonly subject: string | bigint | null
  readonly context: readonly (readonly [string, AttributeValue])[]
  readonly inputs: readonly {
    readonly name: string
    readonly dtype: number
    readonly shape: readonly number[]
    readonly data: readonly number[]
    readonly offsets: readonly number[]
  }[]
  readonly deadlineUs: number
  readonly priority: number
  readonly override: OverrideMessage | null
  readonly flags: number
  readonly decision: readonly number[]
}

/** What a request must look like when it is read: defaults in place, numbers for names. */
function asWritten(request: RequestMessage): Plain {
  return {
    id: request.id ?? 0n,
    objective: request.objective ?? null,
    objectiveHash: request.objectiveHash ?? 0n,
    subject: request.subject ?? null,
    // A zero is left out, and with it its sign.
    context: Object.entries(request.context ?? {}).map(([name, value]) => [name, value === 0 ? 0 : value]),
    inputs: (request.inputs ?? []).map(({ name, dtype, shape, data, offsets }) => ({
      name,
      dtype: DType[dtype],
      shape: shape ?? [],
      data: [...data],
      offsets: [...(offsets ?? [])],
    })),
    deadlineUs: request.deadlineUs ?? 0,
    priority: request.priority === 'bulk' ? 1 : 0,
    override: request.override ?? null,
    flags: (request.timings === true ? 1 : 0) + (request.dryRun === true ? 2 : 0),
    decision: [...(request.decision ?? [])],
  }
}

/** The request at the positions of a view. */
function readBack(view: RequestView): Plain {
  const { words } = view
  const u64 = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) | BigInt(lo)
  const text = (begin: number, length: number): string | null => (begin === 0 ? null : textAt(view, begin, length))
  const numbers = (begin: number, count: number): number[] => [...words.subarray(begin >>> 2, (begin >>> 2) + count)]
  const bytes = new Uint8Array(view.buffer as ArrayBuffer, view.base, words.byteLength)
  return {
    id: u64(view.idLo, view.idHi),
    objective: text(view.objectiveBegin, view.objectiveLength),
    objectiveHash: u64(view.objectiveLo, view.objectiveHi),
    subject:
      view.subjectIsNumber === 1
        ? u64(view.subjectNumberLo, view.subjectNumberHi)
        : text(view.subjectBegin, view.subjectLength),
    context: Object.entries(contextOf(view)),
    inputs: Array.from({ length: view.inputCount }, (_, i) => ({
      name: textAt(view, view.nameBegin[i]!, view.nameLength[i]!),
      dtype: view.dtype[i]!,
      shape: numbers(view.shapeBegin[i]!, view.shapeLength[i]!),
      data: [...bytes.subarray(view.dataBegin[i], view.dataBegin[i]! + view.dataLength[i]!)],
      offsets: numbers(view.offsetsBegin[i]!, view.offsetsLength[i]!),
    })),
    deadlineUs: view.deadlineUs,
    priority: view.priority,
    override: overrideOf(view),
    flags: view.flags,
    decision: [...bytes.subarray(view.decisionBegin, view.decisionBegin + view.decisionLength)],
  }
}

/** The request as the generated code reads it. */
function readByAccessors(message: Uint8Array): Plain {
  const request = Request.getRootAsRequest(new ByteBuffer(new Uint8Array(message)))
  const override = request.override()
  return {
    id: request.id(),
    objective: request.objective(),
    objectiveHash: request.objectiveHash(),
    subject: request.subjectNumber() ?? request.subject(),
    context: Array.from({ length: request.contextLength() }, (_, i) => attributeOf(request.context(i)!)),
    inputs: Array.from({ length: request.inputsLength() }, (_, i) => {
      const column = request.inputs(i)!
      return {
        name: column.name(),
        dtype: column.dtype(),
        shape: [...(column.shapeArray() ?? [])],
        data: [...column.dataArray()!],
        offsets: [...(column.offsetsArray() ?? [])],
      }
    }),
    deadlineUs: request.deadlineUs(),
    priority: request.priority(),
    override: override === null ? null : overrideByAccessors(override),
    flags: request.flags() & (Flag.Timings | Flag.DryRun),
    decision: [...(request.decisionArray() ?? [])],
  }
}

function attributeOf(attribute: Attribute): readonly [string, AttributeValue] {
  const kind = attribute.kind()
  if (kind === AttributeKind.Text) return [attribute.name(), attribute.text()!]
  return [attribute.name(), kind === AttributeKind.Truth ? attribute.number() !== 0 : attribute.number()]
}

function overrideByAccessors(override: Override): Plain['override'] {
  const [workflow, cell, experiment] = [override.workflow(), override.cell(), override.experiment()]
  if (workflow !== null) return { workflow, version: override.version() }
  return { cell: cell!, ...(experiment !== null && { experiment }) }
}

describe('a message that somebody broke', () => {
  const corpus = fc
    .sample(
      fc.record({ request: requests, own: fc.boolean(), fitting: fittings }).map(({ request, own, fitting }) => ({
        message: encodeRequest(own ? request : { ...request, inputs: fitting.inputs }),
        intake: intakeOf(signatureOf(fitting.specs)),
      })),
      { seed, numRuns: 400 },
    )
    .filter(({ message }) => message.length < 4096)

  test(`is decided by the book and never read beyond its end (FUZZ_RUNS=${runs}, FUZZ_SEED=${seed})`, () => {
    const next = seededRandom(seed)
    const pick = (): (typeof corpus)[number] => corpus[Math.floor(next() * corpus.length)]!
    const count = { accepted: 0, matched: 0 }
    for (let run = 0; run < runs; run++) {
      const { message, intake } = pick()
      const mutant = new Uint8Array(broken(message, pick().message, next))
      try {
        const outcomes = poisons.map((poison) => outcomeOf(poison.around(mutant), intake))
        const [one, other] = outcomes as [Outcome, Outcome]
        if (one.text !== other.text) throw new Error(`depends on its neighbours:\n${one.text}\n${other.text}`)
        const expected = byTheBook(mutant)
        if ((expected === null) === one.accepted) throw new Error(`accepted: ${one.accepted}, ${one.text}`)
        if (expected !== null && expected.join() !== one.numbers) throw new Error(`${expected.join()}\n${one.numbers}`)
        if (one.accepted) count.accepted++
        if (one.matched) count.matched++
      } catch (error) {
        throw new Error(
          `FUZZ_SEED=${seed}, mutant ${run}: ${(error as Error).stack}\n${Buffer.from(mutant).toString('hex')}`,
        )
      }
    }
    // Else nothing was tried but one side of the fence.
    expect(count.accepted).toBeGreaterThan(runs / 20)
    expect(count.matched).toBeGreaterThan(runs / 50)
    expect(count.accepted).toBeLessThan((runs * 19) / 20)
  })

  test(`is refused or taken as a list, likewise (FUZZ_SEED=${seed})`, () => {
    const next = seededRandom(seed + 1)
    const pick = (): Uint8Array => corpus[Math.floor(next() * corpus.length)]!.message
    let accepted = 0
    let items = 0
    for (let run = 0; run < runs / 4; run++) {
      const list = encodeRequestList(Array.from({ length: Math.floor(next() * 4) }, pick))
      const mutant = new Uint8Array(broken(list, pick(), next))
      const [one, other] = poisons.map((poison) => listOutcomeOf(poison.around(mutant)))
      expect({ run, ...one }).toEqual({ run, ...other })
      if (one!.items === null) continue
      accepted++
      for (const [begin, length] of one!.items) {
        items++
        expect(begin % 8 === 0 && begin >= 8 && length >= 0 && begin + length <= mutant.length).toBe(true)
        // An item is a message of its own: it means here what it means alone.
        const here = new RequestView()
        const alone = new RequestView()
        const { buffer } = mutant.slice(begin, begin + length)
        expect(verifyRequest(mutant.buffer, begin, length, here)).toBe(verifyRequest(buffer, 0, length, alone))
        expect(numbersOf(here)).toEqual(numbersOf(alone))
      }
    }
    expect(accepted).toBeGreaterThan(runs / 40)
    expect(items).toBeGreaterThan(runs / 40)
  })
})

interface Placed {
  readonly buffer: ArrayBuffer
  readonly base: number
  readonly length: number
}

/** Surroundings that differ: of all ones; and of small numbers, which read like offsets and lengths. */
const poisons = [
  { before: 256, fill: (words: Uint32Array) => words.fill(0xffffffff) },
  { before: 132, fill: (words: Uint32Array) => words.forEach((_, i) => (words[i] = (i % 7) * 4)) },
].map(({ before, fill }) => ({
  around(message: Uint8Array): Placed {
    const buffer = new ArrayBuffer(before + ((message.length + 3) & ~3) + 4096)
    fill(new Uint32Array(buffer))
    new Uint8Array(buffer).set(message, before)
    return { buffer, base: before, length: message.length }
  },
}))

interface Outcome {
  readonly accepted: boolean
  readonly matched: boolean
  readonly numbers: string
  /** All that there is to see from outside. */
  readonly text: string
}

/** Verify, match, copy, whatever comes of it. */
function outcomeOf({ buffer, base, length }: Placed, intake: Intake): Outcome {
  const view = new RequestView()
  if (!verifyRequest(buffer, base, length, view))
    return { accepted: false, matched: false, numbers: '', text: describeFault(view) }
  const numbers = numbersOf(view)
  if (!wholeOf(view).every((number) => Number.isInteger(number) && number >= 0))
    throw new Error(`not all u32: ${numbers.join()}`)
  insideOrThrow(view, length)
  const matched = new Matched()
  if (!matchInputs(view, intake, matched))
    return { accepted: true, matched: false, numbers: numbers.join(), text: `${numbers.join()} ${matched.fault}` }
  const { rows } = matched
  const heapBytes = heapBytesOf(view, intake, matched, 0, rows)
  if (heapBytes !== matched.heapBytes) throw new Error(`heap of ${heapBytes} bytes, matched ${matched.heapBytes}`)
  const slab = new Slab(intake, rows, heapBytes, { rows: 3, requests: 2, heapUsed: 8 })
  const used = copyInputs(view, intake, matched, slab.memory, slab.words, 64, slab.places, 0, rows, 3, 2, slab.heap, 8)
  if (used !== 8 + heapBytes) throw new Error(`${used - 8} bytes of heap used, ${heapBytes} asked for`)
  const stray = slab.strayWrite()
  if (stray >= 0) throw new Error(`the copy wrote at ${stray} of the slab`)
  const copied = Buffer.from(slab.memory).toString('latin1')
  return { accepted: true, matched: true, numbers: numbers.join(), text: `${numbers.join()} ${rows} ${copied}` }
}

function insideOrThrow(view: RequestView, length: number): void {
  const inside = (what: string, begin: number, bytes: number): void => {
    if (begin !== 0 && (begin < 8 || begin + bytes > length))
      throw new Error(`${what}: ${begin}, ${bytes} of ${length}`)
  }
  inside('objective', view.objectiveBegin, view.objectiveLength + 1)
  inside('subject', view.subjectBegin, view.subjectLength + 1)
  if (view.overrideKind > 0) {
    inside('override', view.overrideBegin, view.overrideLength + 1)
    inside('override', view.overrideExperimentBegin, view.overrideExperimentLength)
  }
  for (let i = 0; i < view.contextCount; i++) {
    inside('context', view.contextNameBegin[i]!, view.contextNameLength[i]!)
    inside('context', view.contextTextBegin[i]!, view.contextTextLength[i]!)
  }
  for (let i = 0; i < view.inputCount; i++) {
    inside('name', view.nameBegin[i]!, view.nameLength[i]! + 1)
    inside('shape', view.shapeBegin[i]!, 4 * view.shapeLength[i]!)
    inside('data', view.dataBegin[i]!, view.dataLength[i]!)
    inside('offsets', view.offsetsBegin[i]!, 4 * view.offsetsLength[i]!)
  }
}

function listOutcomeOf({ buffer, base, length }: Placed): { items: [number, number][] | null; fault: string } {
  const list = new ListView()
  if (!verifyList(buffer, base, length, 100, list)) return { items: null, fault: list.fault }
  return { items: Array.from({ length: list.count }, (_, i) => [list.begin[i]!, list.length[i]!]), fault: '' }
}

function signatureOf(inputs: Signature['inputs']): Signature {
  return { inputs, outputs: [] }
}

/** A message with the positions of its parts, to break on purpose. */
class Parts {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly view: DataView

  constructor(message: Uint8Array) {
    this.bytes = new Uint8Array(message)
    this.view = new DataView(this.bytes.buffer)
  }

  get root(): number {
    return this.u32(0)
  }
  u32(at: number): number {
    return this.view.getUint32(at, true)
  }
  put(at: number, value: number): this {
    this.view.setUint32(at, value, true)
    return this
  }
  put16(at: number, value: number): this {
    this.view.setUint16(at, value, true)
    return this
  }
  vtable(table: number): number {
    return table - this.view.getInt32(table, true)
  }
  /** Where the vtable says where a field is. */
  slot(table: number, field: number): number {
    return this.vtable(table) + 4 + 2 * field
  }
  /** Where a field is. */
  at(table: number, field: number): number {
    return table + this.view.getUint16(this.slot(table, field), true)
  }
  /** What a field (an offset) leads to: a table, or the length word of a vector or string. */
  to(table: number, field: number): number {
    const at = this.at(table, field)
    return at + this.u32(at)
  }
  /** The table that element `i` of a vector of tables leads to. */
  element(table: number, field: number, i: number): number {
    const at = this.to(table, field) + 4 + 4 * i
    return at + this.u32(at)
  }
}

const Field = {
  ...{ id: 0, objective: 1, objectiveHash: 2, subject: 3, subjectNumber: 4, context: 5, inputs: 6, deadlineUs: 7 },
  ...{ priority: 8, override: 9, flags: 10 },
} as const

describe('a malformed message is refused with its field', () => {
  const full: RequestMessage = {
    id: 1n,
    objective: 'price',
    objectiveHash: 2n,
    subject: 'account-42',
    context: { country: 'US', age: 42 },
    inputs: [
      denseColumn('vector', 'f32', Float32Array.of(1, 2, 3, 4), [2]),
      raggedColumn('title', 'string', Strings.of(['one', 'other'])),
    ],
    deadlineUs: 50_000,
    priority: 'bulk',
    override: { workflow: 'price', version: 2 },
    timings: true,
  }
  const withCell = encodeRequest({ ...full, override: { cell: 'treatment', experiment: 'prices' } })
  const cut = 'points or reaches outside the message; was the message cut short?'
  const misplaced = 'lies outside its table or is not aligned'
  const outside = 'message: the root table or its vtable lies outside the message'

  const faultOf = (bytes: Uint8Array<ArrayBuffer>): string => {
    const view = new RequestView()
    return verifyRequest(bytes.buffer, 0, bytes.length, view) ? 'none' : describeFault(view)
  }

  test('none of it before it is broken', () => {
    expect(faultOf(new Parts(encodeRequest(full)).bytes)).toBe('none')
  })

  test.each<[string, (m: Parts) => unknown, string]>([
    ['root beyond the end', (m) => m.put(0, m.bytes.length), outside],
    ['root at the last word', (m) => m.put(0, m.bytes.length - 4), outside],
    ['root far away', (m) => m.put(0, 0xfffffffc), outside],
    ['root at nothing', (m) => m.put(0, 0), outside],
    ['root not aligned', (m) => m.put(0, m.root + 2), outside],
    ['vtable before the message', (m) => m.put(m.root, m.root + 4), outside],
    ['vtable in the root offset', (m) => m.put(m.root, m.root), outside],
    ['vtable behind the message', (m) => m.put(m.root, m.root - m.bytes.length), outside],
    ['vtable at the last half word', (m) => m.put(m.root, m.root - (m.bytes.length - 2)), outside],
    ['vtable not aligned', (m) => m.put(m.root, m.root - m.vtable(m.root) - 1), outside],
    ['vtable too short', (m) => m.put16(m.vtable(m.root), 2), outside],
    ['vtable too long', (m) => m.put16(m.vtable(m.root), 0xfffe), outside],
    ['vtable of odd length', (m) => m.put16(m.vtable(m.root), 13), outside],
    ['table too short', (m) => m.put16(m.vtable(m.root) + 2, 0), outside],
    ['table too long', (m) => m.put16(m.vtable(m.root) + 2, 0xfffc), outside],
    [
      'identifier of a reply',
      (m) => m.bytes.set(Buffer.from('MRRP'), 4),
      'message: the file identifier is neither MRRQ nor MRQL',
    ],
    [
      'identifier of a list',
      (m) => m.bytes.set(Buffer.from('MRQL'), 4),
      'message: the file identifier is neither MRRQ nor MRQL',
    ],

    ...(['id', 'objectiveHash', 'deadlineUs', 'flags', 'priority'] as const).flatMap(
      (name): [string, (m: Parts) => unknown, string][] => {
        const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
        const to = (offset: number) => (m: Parts) => m.put16(m.slot(m.root, Field[name]), offset)
        return [
          [`${field} behind its table`, to(0xfffc), `${field}: ${misplaced}`],
          [`${field} in its table's head`, to(2), `${field}: ${misplaced}`],
          [
            `${field} half behind its table`,
            (m) => to(m.view.getUint16(m.vtable(m.root) + 2, true))(m),
            `${field}: ${misplaced}`,
          ],
          ...(name === 'priority' ? [] : [[`${field} not aligned`, to(9), `${field}: ${misplaced}`] as const]),
        ] as [string, (m: Parts) => unknown, string][]
      },
    ),
    [
      'subject_number behind its table',
      (m) => m.put16(m.slot(m.root, Field.subjectNumber), 0x7ffc),
      `subject_number: ${misplaced}`,
    ],
    [
      'unknown priority',
      (m) => (m.bytes[m.at(m.root, Field.priority)] = 2),
      'priority: 2 is neither 0 (interactive) nor 1 (bulk)',
    ],

    ...(['objective', 'subject'] as const).flatMap((name): [string, (m: Parts) => unknown, string][] => [
      [`${name} behind its table`, (m) => m.put16(m.slot(m.root, Field[name]), 0xfffc), `${name}: ${cut}`],
      [`${name} beyond the end`, (m) => m.put(m.at(m.root, Field[name]), m.bytes.length), `${name}: ${cut}`],
      [`${name} far away`, (m) => m.put(m.at(m.root, Field[name]), 0xfffffffc), `${name}: ${cut}`],
      [
        `${name} not aligned`,
        (m) => m.put(m.at(m.root, Field[name]), m.u32(m.at(m.root, Field[name])) + 1),
        `${name}: ${cut}`,
      ],
      [`${name} too long`, (m) => m.put(m.to(m.root, Field[name]), 0xffffffff), `${name}: ${cut}`],
      [
        `${name} up to the end, without its zero`,
        (m) => m.put(m.to(m.root, Field[name]), m.bytes.length - m.to(m.root, Field[name]) - 4),
        `${name}: ${cut}`,
      ],
      [
        `${name} not ended by a zero`,
        (m) => (m.bytes[m.to(m.root, Field[name]) + 4 + m.u32(m.to(m.root, Field[name]))] = 33),
        `${name}: ${cut}`,
      ],
    ]),

    ['context beyond the end', (m) => m.put(m.at(m.root, Field.context), m.bytes.length), `context: ${cut}`],
    ['context of too many', (m) => m.put(m.to(m.root, Field.context), 0x40000001), `context: ${cut}`],
    ['attribute beyond the end', (m) => m.put(m.to(m.root, Field.context) + 8, 0xfffffffc), `context[1]: ${cut}`],
    ['attribute not aligned', (m) => m.put(m.to(m.root, Field.context) + 4, 6), `context[0]: ${cut}`],
    [
      'attribute without a name',
      (m) => m.put16(m.slot(m.element(m.root, Field.context, 1), 0), 0),
      'context[1].name: is required',
    ],
    [
      'name of an attribute too long',
      (m) => m.put(m.to(m.element(m.root, Field.context, 1), 0), 1e6),
      `context[1].name: ${cut}`,
    ],
    [
      'unknown kind',
      (m) => (m.bytes[m.at(m.element(m.root, Field.context, 1), 1)] = 3),
      'context[1].kind: 3 is not a kind',
    ],
    [
      'kind behind its table',
      (m) => m.put16(m.slot(m.element(m.root, Field.context, 1), 1), 999),
      `context[1].kind: ${misplaced}`,
    ],
    [
      'text of an attribute too long',
      (m) => m.put(m.to(m.element(m.root, Field.context, 0), 2), 1e6),
      `context[0].text: ${cut}`,
    ],
    [
      'number behind its table',
      (m) => m.put16(m.slot(m.element(m.root, Field.context, 1), 3), 400),
      `context[1].number: ${misplaced}`,
    ],

    ['inputs beyond the end', (m) => m.put(m.at(m.root, Field.inputs), m.bytes.length), `inputs: ${cut}`],
    ['inputs of too many', (m) => m.put(m.to(m.root, Field.inputs), 0x40000001), `inputs: ${cut}`],
    ['column beyond the end', (m) => m.put(m.to(m.root, Field.inputs) + 8, 0xfffffffc), `inputs[1]: ${cut}`],
    [
      'column without a name',
      (m) => m.put16(m.slot(m.element(m.root, Field.inputs, 1), 0), 0),
      'inputs[1].name: is required',
    ],
    [
      'name of a column too long',
      (m) => m.put(m.to(m.element(m.root, Field.inputs, 1), 0), 1e6),
      `inputs[1].name: ${cut}`,
    ],
    [
      'dtype behind its table',
      (m) => m.put16(m.slot(m.element(m.root, Field.inputs, 1), 1), 999),
      `inputs[1].dtype: ${misplaced}`,
    ],
    ['shape beyond the end', (m) => m.put(m.at(m.element(m.root, Field.inputs, 0), 2), 1e6), `inputs[0].shape: ${cut}`],
    [
      'shape too long',
      (m) => m.put(m.to(m.element(m.root, Field.inputs, 0), 2), 0x40000000),
      `inputs[0].shape: ${cut}`,
    ],
    [
      'column without data',
      (m) => m.put16(m.slot(m.element(m.root, Field.inputs, 1), 3), 0),
      'inputs[1].data: is required',
    ],
    ['data beyond the end', (m) => m.put(m.at(m.element(m.root, Field.inputs, 1), 3), 1e6), `inputs[1].data: ${cut}`],
    [
      'data one byte too long',
      (m) => {
        const data = m.to(m.element(m.root, Field.inputs, 0), 3)
        m.put(data, m.bytes.length - data - 3)
      },
      `inputs[0].data: ${cut}`,
    ],
    [
      'data not aligned',
      (m) => {
        const at = m.at(m.element(m.root, Field.inputs, 0), 3)
        const data = m.to(m.element(m.root, Field.inputs, 0), 3)
        m.put(at, m.u32(at) + 4).put(data + 4, 4)
      },
      'inputs[0].data: is not aligned to 8 bytes',
    ],
    ['offsets too long', (m) => m.put(m.to(m.element(m.root, Field.inputs, 1), 4), 1e6), `inputs[1].offsets: ${cut}`],

    ...(['context', 'inputs'] as const).map((name): [string, (m: Parts) => unknown, string] => [
      `${name} of one more than there is room for`,
      (m) => {
        const at = m.at(m.root, Field[name])
        m.put(at, m.bytes.length - 8 - at).put(m.bytes.length - 8, 2)
      },
      `${name}: ${cut}`,
    ]),

    ['override behind its table', (m) => m.put16(m.slot(m.root, Field.override), 0x7ffc), `override: ${misplaced}`],
    ['override beyond the end', (m) => m.put(m.at(m.root, Field.override), 1e6), `override: ${cut}`],
    [
      'workflow of an override too long',
      (m) => m.put(m.to(m.to(m.root, Field.override), 0), 1e6),
      `override.workflow: ${cut}`,
    ],
    [
      'version of an override not aligned',
      (m) => m.put16(m.slot(m.to(m.root, Field.override), 1), 6),
      `override.version: ${misplaced}`,
    ],
    [
      'an override of a version 0',
      (m) => m.put(m.at(m.to(m.root, Field.override), 1), 0),
      `override: ${overrideForms}`,
    ],
  ])('%s', (_, damage, fault) => {
    const parts = new Parts(encodeRequest(full))
    damage(parts)
    expect(faultOf(parts.bytes)).toBe(fault)
  })

  test.each<[string, (m: Parts) => unknown, string]>([
    ['cell of an override too long', (m) => m.put(m.to(m.to(m.root, Field.override), 2), 1e6), `override.cell: ${cut}`],
    [
      'experiment of an override too long',
      (m) => m.put(m.to(m.to(m.root, Field.override), 3), 1e6),
      `override.experiment: ${cut}`,
    ],
    ['a cell and a version', (m) => m.put16(m.slot(m.to(m.root, Field.override), 1), 4), `override: ${overrideForms}`],
    ['no cell', (m) => m.put16(m.slot(m.to(m.root, Field.override), 2), 0), `override: ${overrideForms}`],
  ])('%s', (_, damage, fault) => {
    expect(faultOf(new Parts(withCell).bytes)).toBe('none')
    const parts = new Parts(withCell)
    damage(parts)
    expect(faultOf(parts.bytes)).toBe(fault)
  })

  test('vtable in the root offset of a message so long that it reads as one', () => {
    const parts = new Parts(new Uint8Array(0x40010))
    parts.put(0, 0x00040004).put(0x40004, 0x40004)
    parts.bytes.set(Buffer.from('MRRQ'), 4)
    expect(faultOf(parts.bytes)).toBe(outside)
  })

  test('a number as subject, not aligned', () => {
    const parts = new Parts(encodeRequest({ ...full, subject: 7n }))
    parts.put16(parts.slot(parts.root, Field.subjectNumber), 6)
    expect(faultOf(parts.bytes)).toBe(`subject_number: ${misplaced}`)
  })

  test('too short, or not of whole words', () => {
    const message = new Uint8Array(encodeRequest(full))
    for (const length of [0, 4, 8, 11, 13, message.length - 1])
      expect(faultOf(message.slice(0, length))).toBe(
        `message: ${length} bytes is not a FlatBuffer: at least 12 bytes, a multiple of 4`,
      )
  })

  test('cut anywhere', () => {
    const message = new Uint8Array(encodeRequest(full))
    for (let length = 12; length < message.length; length += 4)
      expect(faultOf(message.slice(0, length))).toMatch(/cut short\?$|lies outside the message$/)
  })

  test('a list is no request, and says so', () => {
    const list = encodeRequestList([encodeRequest(full)])
    const view = new RequestView()
    expect(verifyRequest(new Uint8Array(list).buffer, 0, list.length, view)).toBe(false)
    expect(view.isList).toBe(true)
    expect(verifyRequest(new Uint8Array(encodeRequest(full)).buffer, 0, 8, view)).toBe(false)
    expect(view.isList).toBe(false)
  })
})

describe('a list of requests', () => {
  const messages = [1n, 2n, 3n].map((id) => encodeRequest({ id, objective: 'price', subject: `account-${id}` }))
  const verifiedList = (bytes: Uint8Array<ArrayBuffer>, itemsMax = 100): ListView => {
    const list = new ListView()
    expect(verifyList(bytes.buffer, 0, bytes.length, itemsMax, list)).toBe(list.count > 0 || list.fault === '')
    return list
  }
  const items = (table: number, parts: Parts): number => parts.to(table, 0)

  test('gives its items back as they were put in', () => {
    fc.assert(
      fc.property(fc.array(requests, { maxLength: 20 }), (values) => {
        const encoded = values.map(encodeRequest)
        const bytes = new Uint8Array(encodeRequestList(encoded))
        const list = new ListView()
        expect(verifyList(bytes.buffer, 0, bytes.length, 20, list)).toBe(true)
        expect(list.count).toBe(values.length)
        encoded.forEach((message, i) => {
          const begin = list.begin[i]!
          expect(Buffer.from(bytes.slice(begin, begin + list.length[i]!)).equals(message)).toBe(true)
          const view = new RequestView()
          expect(verifyRequest(bytes.buffer, begin, list.length[i]!, view)).toBe(true)
          expect(readBack(view)).toEqual(asWritten(values[i]!))
        })
      }),
      { seed: seed + 4, numRuns: 100 },
    )
  })

  test.each<[string, (m: Parts) => unknown, string]>([
    ['identifier of a request', (m) => m.bytes.set(Buffer.from('MRRQ'), 4), 'the file identifier is not MRQL'],
    ['root beyond the end', (m) => m.put(0, m.bytes.length), 'items: the list or its vtable lies outside the message'],
    ['no items', (m) => m.put16(m.slot(m.root, 0), 0), 'items: the list or its vtable lies outside the message'],
    [
      'items beyond the end',
      (m) => m.put(m.at(m.root, 0), 1e6),
      'items: the list or its vtable lies outside the message',
    ],
    [
      'more items than bytes',
      (m) => m.put(items(m.root, m), 1e6),
      'items: the list or its vtable lies outside the message',
    ],
    ['item beyond the end', (m) => m.put(items(m.root, m) + 8, 1e6), itemFault(1)],
    ['item not aligned', (m) => m.put(items(m.root, m) + 12, 2), itemFault(2)],
    ['request beyond the end', (m) => m.put(m.at(m.element(m.root, 0, 1), 0), 1e6), itemFault(1)],
    ['request too long', (m) => m.put(m.to(m.element(m.root, 0, 1), 0), 1e6), itemFault(1)],
    [
      'request not aligned to 8',
      (m) => {
        const at = m.at(m.element(m.root, 0, 1), 0)
        m.put(at, m.u32(at) + 4)
        m.put(m.to(m.element(m.root, 0, 1), 0), 16)
      },
      itemFault(1),
    ],
  ])('%s is refused', (_, damage, fault) => {
    const parts = new Parts(encodeRequestList(messages))
    damage(parts)
    const list = new ListView()
    expect(verifyList(parts.bytes.buffer, 0, parts.bytes.length, 100, list)).toBe(false)
    expect(list).toMatchObject({ count: 0, fault })
  })

  test('an item without a request is refused', () => {
    const encoded = encodeRequestList(messages)
    // A table without fields behind its vtable, at the end: the items share theirs with the list.
    const parts = new Parts(Buffer.concat([encoded, Buffer.of(4, 0, 4, 0, 4, 0, 0, 0)]))
    const at = items(parts.root, parts) + 4
    parts.put(at, encoded.length + 4 - at)
    const list = new ListView()
    expect(verifyList(parts.bytes.buffer, 0, parts.bytes.length, 100, list)).toBe(false)
    expect(list.fault).toBe(itemFault(0))
  })

  test('requests that lie on each other are refused: a message is work for its bytes, not for its items', () => {
    const large = encodeRequest({ id: 1n, objective: 'price', decision: new Uint8Array(1000) })
    const parts = new Parts(encodeRequestList([large, ...messages]))
    const { root } = parts
    const list = new ListView()
    expect(verifyList(parts.bytes.buffer, 0, parts.bytes.length, 100, list)).toBe(true)
    // What is built first lies last: the others can point to it.
    for (const i of [1, 2, 3]) {
      const at = parts.at(parts.element(root, 0, i), 0)
      parts.put(at, parts.to(parts.element(root, 0, 0), 0) - at)
    }
    expect(verifyList(parts.bytes.buffer, 0, parts.bytes.length, 100, list)).toBe(false)
    expect(list).toMatchObject({
      count: 0,
      fault: expect.stringMatching(/^items: \d+ bytes of requests in a message of \d+: some overlap$/),
    })
  })

  test('too many, too short, not of whole words, not aligned is refused', () => {
    const bytes = new Uint8Array(encodeRequestList(messages))
    expect(verifiedList(bytes, 2)).toMatchObject({ count: 0, fault: 'items: 3 requests in one list, at most 2' })
    expect(verifiedList(bytes, 3).count).toBe(3)
    for (const length of [0, 8, 13])
      expect(verifiedList(bytes.slice(0, length)).fault).toBe(
        `${length} bytes is not a FlatBuffer: at least 12 bytes, a multiple of 4`,
      )
    expect(verifyList(bytes.buffer, 2, 12, 100, new ListView())).toBe(false)
  })

  test('longer than the view was made for makes room', () => {
    const bytes = new Uint8Array(encodeRequestList(Array.from({ length: 40 }, (_, i) => messages[i % 3]!)))
    const list = verifiedList(bytes)
    expect(list.count).toBe(40)
    expect([...list.length.subarray(0, 40)]).toEqual(Array.from({ length: 40 }, (_, i) => messages[i % 3]!.length))
  })
})

function itemFault(i: number): string {
  return `items[${i}].request: missing, outside the message or not aligned to 8 bytes`
}
