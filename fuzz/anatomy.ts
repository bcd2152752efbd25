/*
 * Where the joints of a message are, so that it can be broken there: found by reading it as the format says
 * ("FlatBuffers Internals"), apart from the verifier, through a DataView that throws at every read outside.
 */

/** What lies at a joint. */
export const Joint = {
  /** u32, forward: to a table, a vector or a text. */
  offset: 0,
  /** i32, back: from a table to its vtable. */
  vtable: 1,
  /** u16: bytes of a vtable, and of its table. */
  size: 2,
  /** u16 of a vtable: where a field lies in its table. */
  slot: 3,
  /** u32: elements of a vector, bytes of a text. */
  count: 4,
  /** u32 of a ragged column: where a row begins. */
  row: 5,
  /** u32 of a shape. */
  dimension: 6,
  /** u8 that says what something is: dtype, kind, priority. */
  kind: 7,
  /** Numbers whose every value means something. */
  scalar: 8,
  /** The zero that ends a text. */
  end: 9,
} as const

/** A column, and an attribute of the context, as they lie in a message. */
export interface FoundColumn {
  readonly name: string
  readonly data: Uint8Array
  readonly offsets: readonly number[]
}
export interface FoundAttribute {
  readonly name: string
  readonly kind: number
  readonly text: Uint8Array
  readonly number: number
}

export interface Anatomy {
  /** By `Joint`: where they are, bytes from the begin of the message. */
  readonly joints: readonly (readonly number[])[]
  readonly id: bigint
  readonly columns: readonly FoundColumn[]
  readonly context: readonly FoundAttribute[]
}

interface Table {
  /** Where a field of so many bytes (4 unless said: what points elsewhere) lies; 0 when it is absent. */
  field(number: number, bytes?: number): number
}

/** Of one request. Throws RangeError where it reaches outside itself, or is not what the format says. */
export function anatomyOf(message: Uint8Array): Anatomy {
  const joints: number[][] = Object.values(Joint).map(() => [])
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const u32 = (at: number): number => view.getUint32(at, true)
  const u16 = (at: number): number => view.getUint16(at, true)
  const at = (kind: number, place: number): number => {
    joints[kind]!.push(place)
    return place
  }
  const follow = (place: number): number => place + u32(at(Joint.offset, place))
  const demand = (holds: boolean, what: string): void => {
    if (!holds) throw new RangeError(`${what} of a message of ${message.length} bytes`)
  }
  const table = (begin: number): Table => {
    const vtable = begin - view.getInt32(at(Joint.vtable, begin), true)
    const bytes = u16(at(Joint.size, vtable))
    const tableBytes = u16(at(Joint.size, vtable + 2))
    demand(vtable >= 4 && vtable + bytes <= message.length, `a vtable at ${vtable}`)
    demand(begin >= 4 && begin + tableBytes <= message.length, `a table at ${begin}`)
    for (let slot = 4; slot < bytes; slot += 2) at(Joint.slot, vtable + slot)
    return {
      field: (number, width = 4) => {
        const offset = 4 + 2 * number < bytes ? u16(vtable + 4 + 2 * number) : 0
        demand(offset + width <= tableBytes || offset === 0, `a field at ${begin + offset}`)
        return offset === 0 ? 0 : begin + offset
      },
    }
  }
  const vector = (place: number): readonly [begin: number, count: number] => {
    if (place === 0) return [0, 0]
    const begin = follow(place)
    return [begin + 4, u32(at(Joint.count, begin))]
  }
  const bytesAt = ([begin, count]: readonly [number, number]): Uint8Array => {
    demand(begin + count <= message.length, `${count} bytes at ${begin}`)
    return message.subarray(begin, begin + count)
  }
  const text = (place: number): Uint8Array => {
    const [begin, count] = vector(place)
    if (begin > 0) demand(view.getUint8(at(Joint.end, begin + count)) === 0, `a text at ${begin}`)
    return bytesAt([begin, count])
  }
  const words = (place: number, kind: number): number[] => {
    const [begin, count] = vector(place)
    return Array.from({ length: count }, (_, i) => u32(at(kind, begin + 4 * i)))
  }
  const tables = (place: number): Table[] => {
    const [begin, count] = vector(place)
    return Array.from({ length: count }, (_, i) => table(follow(begin + 4 * i)))
  }
  const byte = (place: number): number => (place === 0 ? 0 : view.getUint8(at(Joint.kind, place)))
  const scalar = (place: number): number => (place === 0 ? 0 : at(Joint.scalar, place))

  const root = table(follow(0))
  const [id] = [0, 2, 4].map((number) => scalar(root.field(number, 8)))
  for (const number of [7, 10]) scalar(root.field(number))
  byte(root.field(8, 1))
  for (const number of [1, 3]) text(root.field(number))
  bytesAt(vector(root.field(11)))
  const context = tables(root.field(5)).map((one) => ({
    name: latin1(text(one.field(0))),
    kind: byte(one.field(1, 1)),
    text: text(one.field(2)),
    number: one.field(3, 8) === 0 ? 0 : view.getFloat64(scalar(one.field(3, 8)), true),
  }))
  const columns = tables(root.field(6)).map((one) => {
    const name = latin1(text(one.field(0)))
    byte(one.field(1, 1))
    words(one.field(2), Joint.dimension)
    return { name, data: bytesAt(vector(one.field(3))), offsets: words(one.field(4), Joint.row) }
  })
  if (root.field(9) > 0) {
    const override = table(follow(root.field(9)))
    scalar(override.field(1))
    for (const number of [0, 2, 3]) text(override.field(number))
  }
  return { joints, id: id! > 0 ? view.getBigUint64(id!, true) : 0n, columns, context }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

/** Of a list: the joints of the list itself, and those of its requests, which are `requests` as they were put in. */
export function listJoints(list: Uint8Array, requests: readonly Anatomy[]): readonly (readonly number[])[] {
  const joints: number[][] = Object.values(Joint).map(() => [])
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength)
  const u32 = (at: number): number => view.getUint32(at, true)
  const root = u32(0)
  const table = (begin: number): number => {
    joints[Joint.vtable]!.push(begin)
    const vtable = begin - view.getInt32(begin, true)
    joints[Joint.size]!.push(vtable, vtable + 2)
    joints[Joint.slot]!.push(vtable + 4)
    const field = begin + view.getUint16(vtable + 4, true)
    joints[Joint.offset]!.push(field)
    const target = field + u32(field)
    joints[Joint.count]!.push(target)
    return target
  }
  joints[Joint.offset]!.push(0)
  const items = table(root)
  requests.forEach(({ joints: inner }, i) => {
    const place = items + 4 + 4 * i
    joints[Joint.offset]!.push(place)
    const begin = table(place + u32(place)) + 4
    inner.forEach((places, kind) => joints[kind]!.push(...places.map((at) => begin + at)))
  })
  return joints
}
