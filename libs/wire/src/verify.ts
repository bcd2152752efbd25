import { contextMax, dimensionsMax, inputsMax, type RequestView } from './request-view'

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
} as const
const AttributeField = { name: 0, kind: 1, text: 2, number: 3 } as const
const ColumnField = { name: 0, dtype: 1, shape: 2, data: 3, offsets: 4 } as const
const OverrideField = { workflow: 0, version: 1, cell: 2 } as const

/**
 * Verifies the request of `length` bytes at `base` of `buffer` and fills `out` with its positions. Allocates one
 * view. Nothing outside the message is ever read.
 *
 * @returns false when the message is malformed: `describeFault(out)` names the field
 */
export function verifyRequest(buffer: ArrayBufferLike, base: number, length: number, out: RequestView): boolean {
  out.inputCount = 0
  out.contextCount = 0
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
    return fault(out, 'message', 'the file identifier is not MRRQ')
  }
  const root = words[0]!
  const vtable = tableAt(words, length, root)
  if (vtable < 0) return fault(out, 'message', 'the root table or its vtable lies outside the message')
  const slots = u16(words, vtable)
  const size = u16(words, vtable + 2)

  let at = scalarAt(words, vtable, slots, size, root, Field.id, 8)
  if (at < 0) return misplaced(out, 'id')
  if (at > 0) {
    out.idLo = words[at >>> 2]!
    out.idHi = words[(at >>> 2) + 1]!
  }
  at = scalarAt(words, vtable, slots, size, root, Field.objectiveHash, 8)
  if (at < 0) return misplaced(out, 'objective_hash')
  out.objectiveLo = at > 0 ? words[at >>> 2]! : 0
  out.objectiveHi = at > 0 ? words[(at >>> 2) + 1]! : 0
  at = scalarAt(words, vtable, slots, size, root, Field.subjectNumber, 8)
  if (at < 0) return misplaced(out, 'subject_number')
  out.subjectIsNumber = at > 0 ? 1 : 0
  out.subjectNumberLo = at > 0 ? words[at >>> 2]! : 0
  out.subjectNumberHi = at > 0 ? words[(at >>> 2) + 1]! : 0
  at = scalarAt(words, vtable, slots, size, root, Field.deadlineUs, 4)
  if (at < 0) return misplaced(out, 'deadline_us')
  out.deadlineUs = at > 0 ? words[at >>> 2]! : 0
  at = scalarAt(words, vtable, slots, size, root, Field.flags, 4)
  if (at < 0) return misplaced(out, 'flags')
  out.flags = at > 0 ? words[at >>> 2]! : 0
  at = scalarAt(words, vtable, slots, size, root, Field.priority, 1)
  if (at < 0) return misplaced(out, 'priority')
  out.priority = at > 0 ? u8(words, at) : 0
  if (out.priority > 1) return fault(out, 'priority', `${out.priority} is neither 0 (interactive) nor 1 (bulk)`)

  at = stringAt(words, length, vtable, slots, size, root, Field.objective)
  if (at < 0) return dangling(out, 'objective')
  out.objectiveBegin = at
  out.objectiveLength = at > 0 ? words[(at >>> 2) - 1]! : 0
  at = stringAt(words, length, vtable, slots, size, root, Field.subject)
  if (at < 0) return dangling(out, 'subject')
  out.subjectBegin = at
  out.subjectLength = at > 0 ? words[(at >>> 2) - 1]! : 0

  return (
    verifyContext(words, length, vtable, slots, size, root, out) &&
    verifyInputs(words, length, vtable, slots, size, root, out) &&
    verifyOverride(words, length, vtable, slots, size, root, out)
  )
}

function verifyInputs(
  words: Uint32Array,
  length: number,
  vtable: number,
  slots: number,
  size: number,
  root: number,
  out: RequestView,
): boolean {
  const vector = vectorAt(words, length, vtable, slots, size, root, Field.inputs, 4)
  if (vector < 0) return dangling(out, 'inputs')
  const count = vector > 0 ? words[(vector >>> 2) - 1]! : 0
  if (count > inputsMax) return fault(out, 'inputs', `${count} columns, at most ${inputsMax}`)
  for (let i = 0; i < count; i++) {
    const at = vector + 4 * i
    const column = at + words[at >>> 2]!
    const columnVtable = tableAt(words, length, column)
    if (columnVtable < 0) return dangling(out, 'inputs[]', i)
    const columnSlots = u16(words, columnVtable)
    const columnSize = u16(words, columnVtable + 2)

    const name = stringAt(words, length, columnVtable, columnSlots, columnSize, column, ColumnField.name)
    if (name <= 0) return name === 0 ? missing(out, 'inputs[].name', i) : dangling(out, 'inputs[].name', i)
    out.nameBegin[i] = name
    out.nameLength[i] = words[(name >>> 2) - 1]!

    const dtype = scalarAt(words, columnVtable, columnSlots, columnSize, column, ColumnField.dtype, 1)
    if (dtype < 0) return misplaced(out, 'inputs[].dtype', i)
    out.dtype[i] = dtype > 0 ? u8(words, dtype) : 0

    const shape = vectorAt(words, length, columnVtable, columnSlots, columnSize, column, ColumnField.shape, 4)
    if (shape < 0) return dangling(out, 'inputs[].shape', i)
    out.shapeBegin[i] = shape
    const dimensions = shape > 0 ? words[(shape >>> 2) - 1]! : 0
    if (dimensions > dimensionsMax)
      return fault(out, 'inputs[].shape', `${dimensions} dimensions, at most ${dimensionsMax}`, i)
    out.shapeLength[i] = dimensions

    const data = vectorAt(words, length, columnVtable, columnSlots, columnSize, column, ColumnField.data, 1)
    if (data <= 0) return data === 0 ? missing(out, 'inputs[].data', i) : dangling(out, 'inputs[].data', i)
    if ((data & 7) !== 0) return fault(out, 'inputs[].data', 'is not aligned to 8 bytes', i)
    out.dataBegin[i] = data
    out.dataLength[i] = words[(data >>> 2) - 1]!

    const offsets = vectorAt(words, length, columnVtable, columnSlots, columnSize, column, ColumnField.offsets, 4)
    if (offsets < 0) return dangling(out, 'inputs[].offsets', i)
    out.offsetsBegin[i] = offsets
    out.offsetsLength[i] = offsets > 0 ? words[(offsets >>> 2) - 1]! : 0
  }
  out.inputCount = count
  return true
}

function verifyContext(
  words: Uint32Array,
  length: number,
  vtable: number,
  slots: number,
  size: number,
  root: number,
  out: RequestView,
): boolean {
  const vector = vectorAt(words, length, vtable, slots, size, root, Field.context, 4)
  if (vector < 0) return dangling(out, 'context')
  if (vector === 0) return true
  const count = words[(vector >>> 2) - 1]!
  if (count > contextMax) return fault(out, 'context', `${count} attributes, at most ${contextMax}`)
  for (let i = 0; i < count; i++) {
    const at = vector + 4 * i
    const attribute = at + words[at >>> 2]!
    const attributeVtable = tableAt(words, length, attribute)
    if (attributeVtable < 0) return dangling(out, 'context[]', i)
    const attributeSlots = u16(words, attributeVtable)
    const attributeSize = u16(words, attributeVtable + 2)
    const name = stringAt(words, length, attributeVtable, attributeSlots, attributeSize, attribute, AttributeField.name)
    if (name <= 0) return name === 0 ? missing(out, 'context[].name', i) : dangling(out, 'context[].name', i)
    const kind = scalarAt(words, attributeVtable, attributeSlots, attributeSize, attribute, AttributeField.kind, 1)
    if (kind < 0) return misplaced(out, 'context[].kind', i)
    if (kind > 0 && u8(words, kind) > 2) return fault(out, 'context[].kind', `${u8(words, kind)} is not a kind`, i)
    const text = stringAt(words, length, attributeVtable, attributeSlots, attributeSize, attribute, AttributeField.text)
    if (text < 0) return dangling(out, 'context[].text', i)
    const number = scalarAt(words, attributeVtable, attributeSlots, attributeSize, attribute, AttributeField.number, 8)
    if (number < 0) return misplaced(out, 'context[].number', i)
    out.context[i] = attribute
  }
  out.contextCount = count
  return true
}

function verifyOverride(
  words: Uint32Array,
  length: number,
  vtable: number,
  slots: number,
  size: number,
  root: number,
  out: RequestView,
): boolean {
  out.overrideBegin = 0
  const at = scalarAt(words, vtable, slots, size, root, Field.override, 4)
  if (at < 0) return misplaced(out, 'override')
  if (at === 0) return true
  const table = at + words[at >>> 2]!
  const overrideVtable = tableAt(words, length, table)
  if (overrideVtable < 0) return dangling(out, 'override')
  const overrideSlots = u16(words, overrideVtable)
  const overrideSize = u16(words, overrideVtable + 2)
  if (stringAt(words, length, overrideVtable, overrideSlots, overrideSize, table, OverrideField.workflow) < 0)
    return dangling(out, 'override.workflow')
  if (scalarAt(words, overrideVtable, overrideSlots, overrideSize, table, OverrideField.version, 4) < 0)
    return misplaced(out, 'override.version')
  if (stringAt(words, length, overrideVtable, overrideSlots, overrideSize, table, OverrideField.cell) < 0)
    return dangling(out, 'override.cell')
  out.overrideBegin = table
  return true
}

/** Positions of one list's items. */
export class ListView {
  count = 0
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
  out.count = 0
  out.fault = `${length} bytes is not a FlatBuffer: at least 12 bytes, a multiple of 4`
  if (length < 12 || (length & 3) !== 0 || (base & 3) !== 0) return false
  const words = new Uint32Array(buffer as ArrayBuffer, base, length >>> 2)
  out.fault = 'the file identifier is not MRQL'
  if (words[1] !== listIdentifier) return false
  const root = words[0]!
  const vtable = tableAt(words, length, root)
  out.fault = 'items: the list or its vtable lies outside the message'
  if (vtable < 0) return false
  const vector = vectorAt(words, length, vtable, u16(words, vtable), u16(words, vtable + 2), root, 0, 4)
  if (vector <= 0) return false
  const count = words[(vector >>> 2) - 1]!
  if (count > itemsMax) {
    out.fault = `items: ${count} requests in one list, at most ${itemsMax}`
    return false
  }
  if (count > out.begin.length) {
    out.begin = new Int32Array(count)
    out.length = new Int32Array(count)
  }
  for (let i = 0; i < count; i++) {
    const at = vector + 4 * i
    const item = at + words[at >>> 2]!
    const itemVtable = tableAt(words, length, item)
    if (itemVtable >= 0) {
      const bytes = vectorAt(words, length, itemVtable, u16(words, itemVtable), u16(words, itemVtable + 2), item, 0, 1)
      if (bytes > 0 && (bytes & 7) === 0) {
        out.begin[i] = bytes
        out.length[i] = words[(bytes >>> 2) - 1]!
        continue
      }
    }
    out.fault = `items[${i}].request: missing, outside the message or not aligned to 8 bytes`
    return false
  }
  out.count = count
  return true
}

// The leaves. All positions are bytes from the message's begin; -1 is malformed, 0 is absent.

function u8(words: Uint32Array, at: number): number {
  return (words[at >>> 2]! >>> ((at & 3) * 8)) & 0xff
}

/** `at` is even. */
function u16(words: Uint32Array, at: number): number {
  return (words[at >>> 2]! >>> ((at & 2) * 8)) & 0xffff
}

/** The vtable of the table at `table`, both wholly inside the message, or -1. */
function tableAt(words: Uint32Array, length: number, table: number): number {
  if ((table & 3) !== 0 || table > length - 4 || table < 4) return -1
  const vtable = table - (words[table >>> 2]! | 0)
  if ((vtable & 1) !== 0 || vtable < 4 || vtable > length - 4) return -1
  const slots = u16(words, vtable)
  const size = u16(words, vtable + 2)
  if (slots < 4 || (slots & 1) !== 0 || vtable + slots > length || size < 4 || table + size > length) return -1
  return vtable
}

/** A scalar (or offset) of `bytes` bytes, inside its table and aligned. */
function scalarAt(
  words: Uint32Array,
  vtable: number,
  slots: number,
  size: number,
  table: number,
  field: number,
  bytes: number,
): number {
  const slot = 4 + 2 * field
  if (slot >= slots) return 0
  const offset = u16(words, vtable + slot)
  if (offset === 0) return 0
  const at = table + offset
  // u64 and double are 8-aligned in what builders write; 4 is what reading needs, so 4 is what is asked.
  return offset < 4 || offset + bytes > size || (at & (bytes > 4 ? 3 : bytes - 1)) !== 0 ? -1 : at
}

/** The first byte of a vector of `elementBytes`-sized elements; its length is the word before. */
function vectorAt(
  words: Uint32Array,
  length: number,
  vtable: number,
  slots: number,
  size: number,
  table: number,
  field: number,
  elementBytes: number,
): number {
  const at = scalarAt(words, vtable, slots, size, table, field, 4)
  if (at <= 0) return at
  const vector = at + words[at >>> 2]!
  if ((vector & 3) !== 0 || vector > length - 4) return -1
  return words[vector >>> 2]! * elementBytes > length - vector - 4 ? -1 : vector + 4
}

/** The first byte of a string; its length is the word before, its end a zero byte. */
function stringAt(
  words: Uint32Array,
  length: number,
  vtable: number,
  slots: number,
  size: number,
  table: number,
  field: number,
): number {
  const begin = vectorAt(words, length, vtable, slots, size, table, field, 1)
  if (begin <= 0) return begin
  const end = begin + words[(begin >>> 2) - 1]!
  return end >= length || u8(words, end) !== 0 ? -1 : begin
}

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
