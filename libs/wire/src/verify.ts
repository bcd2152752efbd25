import { columnsMax, contextMax, trafficClasses, trafficFault } from '@millrace/base'
import { dimensionsMax, textAt, type RequestView } from './request-view'

/*
 * The verifier. FlatBuffers' JavaScript accessors trust every offset and length of a message, so a forged one reads
 * a neighbour's memory. Here each offset is checked before it is followed, once, in the order of the schema
 * (libs/wire/schema/request.fbs), and what is found is kept as positions: verifying and reading are one pass.
 *
 * The rules are those of the format ("FlatBuffers Internals"): a table points back to its vtable; vtable entries are
 * u16 offsets into the table, 0 for absent; strings, vectors and tables are reached by forward u32 offsets; every
 * scalar is aligned to its size. Depth is bounded by the schema: nothing here is recursive.
 */

/** `MRRQ` as a little-endian word. */
const requestIdentifier = 0x5152524d
/** `MRQL`. */
const listIdentifier = 0x4c51524d

// Field numbers of the schema's tables.
const Field = {
  id: 0,
  objective: 1,
  objectiveHash: 2,
  subject: 3,
  subjectNumber: 4,
  context: 5,
  inputs: 6,
  deadlineUs: 7,
  priority: 8,
  override: 9,
  flags: 10,
  decision: 11,
} as const
const AttributeField = { name: 0, kind: 1, text: 2, number: 3 } as const
const ColumnField = { name: 0, dtype: 1, shape: 2, data: 3, offsets: 4 } as const
const OverrideField = { workflow: 0, version: 1, cell: 2, experiment: 3 } as const

/**
 * Verifies the request of `length` bytes at `base` of `buffer` and fills `out` with its positions. Allocates one
 * view. Nothing outside the message is ever read.
 *
 * @returns false when the message is malformed: `describeFault(out)` names the field
 */
export function verifyRequest(buffer: ArrayBufferLike, base: number, length: number, out: RequestView): boolean {
  out.inputCount = 0
  out.contextCount = 0
  out.traffic = 0
  out.tenantLength = 0
  out.idLo = 0
  out.idHi = 0
  out.isList = false
  if (length < 12 || (length & 3) !== 0 || (base & 3) !== 0)
    return fault(out, 'message', `${length} bytes is not a FlatBuffer: at least 12 bytes, a multiple of 4`)
  const words = new Uint32Array(buffer as ArrayBuffer, base, length >>> 2)
  out.words = words
  out.buffer = buffer
  out.base = base
  if (words[1] !== requestIdentifier) {
    out.isList = words[1] === listIdentifier
    return fault(out, 'message', 'the file identifier is neither MRRQ nor MRQL')
  }
  if (!root.enter(words, length, words[0]!))
    return fault(out, 'message', 'the root table or its vtable lies outside the message')

  let at = root.scalar(Field.id, 8)
  if (at < 0) return misplaced(out, 'id')
  if (at > 0) {
    out.idLo = words[at >>> 2]!
    out.idHi = words[(at >>> 2) + 1]!
  }
  at = root.scalar(Field.objectiveHash, 8)
  if (at < 0) return misplaced(out, 'objective_hash')
  out.objectiveLo = at > 0 ? words[at >>> 2]! : 0
  out.objectiveHi = at > 0 ? words[(at >>> 2) + 1]! : 0
  at = root.scalar(Field.subjectNumber, 8)
  if (at < 0) return misplaced(out, 'subject_number')
  out.subjectIsNumber = at > 0 ? 1 : 0
  out.subjectNumberLo = at > 0 ? words[at >>> 2]! : 0
  out.subjectNumberHi = at > 0 ? words[(at >>> 2) + 1]! : 0
  at = root.scalar(Field.deadlineUs, 4)
  if (at < 0) return misplaced(out, 'deadline_us')
  out.deadlineUs = at > 0 ? words[at >>> 2]! : 0
  at = root.scalar(Field.flags, 4)
  if (at < 0) return misplaced(out, 'flags')
  out.flags = at > 0 ? words[at >>> 2]! : 0
  at = root.scalar(Field.priority, 1)
  if (at < 0) return misplaced(out, 'priority')
  out.priority = at > 0 ? u8(words, at) : 0
  if (out.priority > 1) return fault(out, 'priority', `${out.priority} is neither 0 (interactive) nor 1 (bulk)`)

  at = root.string(Field.objective)
  if (at < 0) return dangling(out, 'objective')
  out.objectiveBegin = at
  out.objectiveLength = at > 0 ? words[(at >>> 2) - 1]! : 0
  at = root.string(Field.subject)
  if (at < 0) return dangling(out, 'subject')
  out.subjectWords = words
  out.subjectBegin = at
  out.subjectLength = at > 0 ? words[(at >>> 2) - 1]! : 0

  at = root.vector(Field.decision, 1)
  if (at < 0) return dangling(out, 'decision')
  out.decisionBegin = at
  out.decisionLength = at > 0 ? words[(at >>> 2) - 1]! : 0

  return verifyContext(words, length, out) && verifyInputs(words, length, out) && verifyOverride(words, length, out)
}

function verifyInputs(words: Uint32Array, length: number, out: RequestView): boolean {
  const vector = root.vector(Field.inputs, 4)
  if (vector < 0) return dangling(out, 'inputs')
  const count = vector > 0 ? words[(vector >>> 2) - 1]! : 0
  if (count > columnsMax) return fault(out, 'inputs', `${count} columns, at most ${columnsMax}`)
  for (let i = 0; i < count; i++) {
    const at = vector + 4 * i
    const column = at + words[at >>> 2]!
    if (!inner.enter(words, length, column)) return dangling(out, 'inputs[]', i)

    const name = inner.string(ColumnField.name)
    if (name <= 0) return name === 0 ? missing(out, 'inputs[].name', i) : dangling(out, 'inputs[].name', i)
    out.nameBegin[i] = name
    out.nameLength[i] = words[(name >>> 2) - 1]!

    const dtype = inner.scalar(ColumnField.dtype, 1)
    if (dtype < 0) return misplaced(out, 'inputs[].dtype', i)
    out.dtype[i] = dtype > 0 ? u8(words, dtype) : 0

    const shape = inner.vector(ColumnField.shape, 4)
    if (shape < 0) return dangling(out, 'inputs[].shape', i)
    out.shapeBegin[i] = shape
    const dimensions = shape > 0 ? words[(shape >>> 2) - 1]! : 0
    if (dimensions > dimensionsMax)
      return fault(out, 'inputs[].shape', `${dimensions} dimensions, at most ${dimensionsMax}`, i)
    out.shapeLength[i] = dimensions

    const data = inner.vector(ColumnField.data, 1)
    if (data <= 0) return data === 0 ? missing(out, 'inputs[].data', i) : dangling(out, 'inputs[].data', i)
    if ((data & 7) !== 0) return fault(out, 'inputs[].data', 'is not aligned to 8 bytes', i)
    out.dataBegin[i] = data
    out.dataLength[i] = words[(data >>> 2) - 1]!

    const offsets = inner.vector(ColumnField.offsets, 4)
    if (offsets < 0) return dangling(out, 'inputs[].offsets', i)
    out.offsetsBegin[i] = offsets
    out.offsetsLength[i] = offsets > 0 ? words[(offsets >>> 2) - 1]! : 0
  }
  out.inputCount = count
  return true
}

function verifyContext(words: Uint32Array, length: number, out: RequestView): boolean {
  const vector = root.vector(Field.context, 4)
  if (vector < 0) return dangling(out, 'context')
  if (vector === 0) return true
  const count = words[(vector >>> 2) - 1]!
  if (count > contextMax) return fault(out, 'context', `${count} attributes, at most ${contextMax}`)
  for (let i = 0; i < count; i++) {
    const at = vector + 4 * i
    const attribute = at + words[at >>> 2]!
    if (!inner.enter(words, length, attribute)) return dangling(out, 'context[]', i)
    const name = inner.string(AttributeField.name)
    if (name <= 0) return name === 0 ? missing(out, 'context[].name', i) : dangling(out, 'context[].name', i)
    const kind = inner.scalar(AttributeField.kind, 1)
    if (kind < 0) return misplaced(out, 'context[].kind', i)
    const is = kind > 0 ? u8(words, kind) : 0
    if (is > 2) return fault(out, 'context[].kind', `${is} is not a kind`, i)
    const text = inner.string(AttributeField.text)
    if (text < 0) return dangling(out, 'context[].text', i)
    const number = inner.scalar(AttributeField.number, 8)
    if (number < 0) return misplaced(out, 'context[].number', i)
    out.contextNameBegin[i] = name
    out.contextNameLength[i] = words[(name >>> 2) - 1]!
    out.contextKind[i] = is
    out.contextTextBegin[i] = text
    out.contextTextLength[i] = text > 0 ? words[(text >>> 2) - 1]! : 0
    out.contextNumber[i] = number > 0 ? f64(words, number) : 0
    if (!verifyGiven(words, out, i)) return false
  }
  out.contextCount = count
  return true
}

/** Attributes that every request has a place for are texts, and the traffic class is one of those that there are. */
function verifyGiven(words: Uint32Array, out: RequestView, i: number): boolean {
  const nameLength = out.contextNameLength[i]!
  if (nameLength !== 6 && nameLength !== 7) return true
  const name = out.contextNameBegin[i]!
  for (const given of givenNames) {
    if (!isLiteral(words, name, nameLength, given)) continue
    if (out.contextKind[i] !== 0) return fault(out, `context.${given.text}`, 'is a text in every request')
    const begin = out.contextTextBegin[i]!
    const length = out.contextTextLength[i]!
    if (given === tenantName) {
      out.tenantBegin = begin
      out.tenantLength = length
    } else if (given === trafficName) {
      out.traffic = 0
      while (out.traffic < trafficLiterals.length && !isLiteral(words, begin, length, trafficLiterals[out.traffic]!))
        out.traffic++
      if (out.traffic < trafficLiterals.length) continue
      out.traffic = 0
      return fault(out, 'context.traffic', trafficFault(textAt(out, begin, Math.min(length, 100))))
    }
  }
  return true
}

interface Literal {
  readonly text: string
  readonly length: number
  /** Filled with zeros. */
  readonly words: Uint32Array
}

function literal(text: string): Literal {
  const padded = Buffer.alloc((text.length + 3) & ~3, text.padEnd((text.length + 3) & ~3, '\0'), 'latin1')
  return { text, length: text.length, words: new Uint32Array(new Uint8Array(padded).buffer) }
}

const tenantName = literal('tenant')
const trafficName = literal('traffic')
const givenNames = [tenantName, literal('origin'), trafficName]
const trafficLiterals = trafficClasses.map(literal)

/** Whether the text of `length` bytes at `begin` is the literal; what follows it in its last word does not count. */
function isLiteral(words: Uint32Array, begin: number, length: number, literal: Literal): boolean {
  if (length !== literal.length) return false
  const whole = length >>> 2
  const at = begin >>> 2
  for (let w = 0; w < whole; w++) if (words[at + w] !== literal.words[w]) return false
  const tail = length & 3
  return tail === 0 || (words[at + whole]! & ((1 << (8 * tail)) - 1)) === literal.words[whole]
}

function verifyOverride(words: Uint32Array, length: number, out: RequestView): boolean {
  out.overrideKind = 0
  const at = root.scalar(Field.override, 4)
  if (at < 0) return misplaced(out, 'override')
  if (at === 0) return true
  const table = at + words[at >>> 2]!
  if (!inner.enter(words, length, table)) return dangling(out, 'override')
  const workflow = inner.string(OverrideField.workflow)
  if (workflow < 0) return dangling(out, 'override.workflow')
  const version = inner.scalar(OverrideField.version, 4)
  if (version < 0) return misplaced(out, 'override.version')
  const cell = inner.string(OverrideField.cell)
  if (cell < 0) return dangling(out, 'override.cell')
  const experiment = inner.string(OverrideField.experiment)
  if (experiment < 0) return dangling(out, 'override.experiment')
  out.overrideVersion = version > 0 ? words[version >>> 2]! : 0
  const ofVersion = workflow > 0 && out.overrideVersion > 0 && cell === 0 && experiment === 0
  const ofCell = cell > 0 && workflow === 0 && out.overrideVersion === 0
  if (!ofVersion && !ofCell) return fault(out, 'override', overrideForms)
  const name = ofVersion ? workflow : cell
  out.overrideKind = ofVersion ? 1 : 2
  out.overrideBegin = name
  out.overrideLength = words[(name >>> 2) - 1]!
  out.overrideExperimentBegin = experiment
  out.overrideExperimentLength = experiment > 0 ? words[(experiment >>> 2) - 1]! : 0
  return true
}

/** How an override is written. */
export const overrideForms = 'names a workflow and its version, or a cell and, where it has to be said, its experiment'

/** Positions of one list's items. */
export class ListView {
  count = 0
  /** Items that it says it has, whether or not they are good. */
  said = 0
  begin = new Int32Array(16)
  length = new Int32Array(16)
  fault = ''
}

/**
 * Verifies a list of requests as far as its items' bounds; each item is then a message of its own.
 *
 * @param itemsMax requests that one list may carry
 */
export function verifyList(
  buffer: ArrayBufferLike,
  base: number,
  length: number,
  itemsMax: number,
  out: ListView,
): boolean {
  out.count = out.said = 0
  out.fault = `${length} bytes is not a FlatBuffer: at least 12 bytes, a multiple of 4`
  if (length < 12 || (length & 3) !== 0 || (base & 3) !== 0) return false
  const words = new Uint32Array(buffer as ArrayBuffer, base, length >>> 2)
  out.fault = 'the file identifier is not MRQL'
  if (words[1] !== listIdentifier) return false
  const entered = root.enter(words, length, words[0]!)
  out.fault = 'items: the list or its vtable lies outside the message'
  if (!entered) return false
  const vector = root.vector(0, 4)
  if (vector <= 0) return false
  const count = words[(vector >>> 2) - 1]!
  out.said = count
  if (count > itemsMax) {
    out.fault = `items: ${count} requests in one list, at most ${itemsMax}`
    return false
  }
  if (count > out.begin.length) {
    out.begin = new Int32Array(count)
    out.length = new Int32Array(count)
  }
  let bytesOfItems = 0
  for (let i = 0; i < count; i++) {
    const at = vector + 4 * i
    const item = at + words[at >>> 2]!
    if (inner.enter(words, length, item)) {
      const bytes = inner.vector(0, 1)
      if (bytes > 0 && (bytes & 7) === 0) {
        out.begin[i] = bytes
        out.length[i] = words[(bytes >>> 2) - 1]!
        bytesOfItems += out.length[i]!
        continue
      }
    }
    out.fault = `items[${i}].request: missing, outside the message or not aligned to 8 bytes`
    return false
  }
  // Else a few bytes would be read as often as a list has items.
  if (bytesOfItems > length) {
    out.fault = `items: ${bytesOfItems} bytes of requests in a message of ${length}: some overlap`
    return false
  }
  out.count = count
  return true
}

function u8(words: Uint32Array, at: number): number {
  return (words[at >>> 2]! >>> ((at & 3) * 8)) & 0xff
}

const double = new Float64Array(1)
const doubleWords = new Uint32Array(double.buffer)

/** `at` is a multiple of 4. */
function f64(words: Uint32Array, at: number): number {
  doubleWords[0] = words[at >>> 2]!
  doubleWords[1] = words[(at >>> 2) + 1]!
  return double[0]!
}

/** `at` is even. */
function u16(words: Uint32Array, at: number): number {
  return (words[at >>> 2]! >>> ((at & 2) * 8)) & 0xffff
}

/**
 * A table of the message and its vtable, both known to lie inside it. All positions are bytes from the message's
 * begin; -1 is malformed, 0 is absent. Fields are numbered as in the schema.
 */
class Table {
  private words: Uint32Array = new Uint32Array(0)
  private length = 0
  private table = 0
  private vtable = 0
  private slots = 0
  private size = 0

  /** Moves to the table at `table`; false when it or its vtable is not wholly inside the message. */
  enter(words: Uint32Array, length: number, table: number): boolean {
    if ((table & 3) !== 0 || table > length - 4 || table < 4) return false
    const vtable = table - (words[table >>> 2]! | 0)
    if ((vtable & 1) !== 0 || vtable < 4 || vtable > length - 4) return false
    const slots = u16(words, vtable)
    const size = u16(words, vtable + 2)
    if (slots < 4 || (slots & 1) !== 0 || vtable + slots > length || size < 4 || table + size > length) return false
    this.words = words
    this.length = length
    this.table = table
    this.vtable = vtable
    this.slots = slots
    this.size = size
    return true
  }

  /** A scalar (or offset) of `bytes` bytes, inside the table and aligned. */
  scalar(field: number, bytes: number): number {
    const slot = 4 + 2 * field
    if (slot >= this.slots) return 0
    const offset = u16(this.words, this.vtable + slot)
    if (offset === 0) return 0
    const at = this.table + offset
    // u64 and double are 8-aligned in what builders write; 4 is what reading needs, so 4 is what is asked.
    return offset < 4 || offset + bytes > this.size || (at & (bytes > 4 ? 3 : bytes - 1)) !== 0 ? -1 : at
  }

  /** The first byte of a vector of `elementBytes`-sized elements; its length is the word before. */
  vector(field: number, elementBytes: number): number {
    const at = this.scalar(field, 4)
    if (at <= 0) return at
    const { words, length } = this
    const vector = at + words[at >>> 2]!
    if ((vector & 3) !== 0 || vector > length - 4) return -1
    return words[vector >>> 2]! * elementBytes > length - vector - 4 ? -1 : vector + 4
  }

  /** The first byte of a string; its length is the word before, its end a zero byte. */
  string(field: number): number {
    const begin = this.vector(field, 1)
    if (begin <= 0) return begin
    const { words } = this
    const end = begin + words[(begin >>> 2) - 1]!
    return end >= this.length || u8(words, end) !== 0 ? -1 : begin
  }
}

/** The message's root, and the table under it that is looked at: reused for every message. */
const root = new Table()
const inner = new Table()

function fault(out: RequestView, field: string, why: string, index = -1): false {
  out.faultField = field
  out.faultIndex = index
  out.faultWhy = why
  return false
}
function dangling(out: RequestView, field: string, index = -1): false {
  return fault(out, field, 'points or reaches outside the message; was the message cut short?', index)
}
function misplaced(out: RequestView, field: string, index = -1): false {
  return fault(out, field, 'lies outside its table or is not aligned', index)
}
function missing(out: RequestView, field: string, index = -1): false {
  return fault(out, field, 'is required', index)
}
