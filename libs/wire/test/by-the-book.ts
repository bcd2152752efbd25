import { columnsMax, contextMax } from '@millrace/base'
import { dimensionsMax, type RequestView } from '../src/request-view'

/*
 * What the verifier must decide, written down a second time: slowly, through a DataView that throws at every read
 * outside the message, and in the words of the format instead of those of the road.
 */

/** Every number of a verified request, in one order: what is whole, then what its context says. */
export function numbersOf(view: RequestView): number[] {
  return [...wholeOf(view), ...view.contextNumber.subarray(0, view.contextCount)]
}

/** Its positions, lengths, ids and flags. */
export function wholeOf(view: RequestView): number[] {
  const columns = [
    ...[view.nameBegin, view.nameLength, view.dtype, view.shapeBegin, view.shapeLength],
    ...[view.dataBegin, view.dataLength, view.offsetsBegin, view.offsetsLength],
  ]
  const context = [
    ...[view.contextNameBegin, view.contextNameLength, view.contextKind],
    ...[view.contextTextBegin, view.contextTextLength],
  ]
  return [
    ...[view.idLo, view.idHi, view.objectiveBegin, view.objectiveLength, view.objectiveLo, view.objectiveHi],
    ...[view.subjectBegin, view.subjectLength, view.subjectIsNumber, view.subjectNumberLo, view.subjectNumberHi],
    ...[view.deadlineUs, view.priority, view.flags, view.traffic, view.tenantLength],
    ...[view.tenantLength > 0 ? view.tenantBegin : 0, view.overrideKind],
    ...(view.overrideKind > 0 ? overrideNumbers(view) : []),
    ...[view.decisionBegin, view.decisionLength],
    ...[view.contextCount, ...context.flatMap((numbers) => [...numbers.subarray(0, view.contextCount)])],
    ...[view.inputCount, ...columns.flatMap((numbers) => [...numbers.subarray(0, view.inputCount)])],
  ]
}

function overrideNumbers(view: RequestView): number[] {
  const { overrideBegin, overrideLength, overrideVersion, overrideExperimentBegin, overrideExperimentLength } = view
  return [overrideBegin, overrideLength, overrideVersion, overrideExperimentBegin, overrideExperimentLength]
}

/** `numbersOf` what the verifier should find, or null when it should refuse. */
export function byTheBook(message: Uint8Array): number[] | null {
  try {
    return requestNumbers(new DataView(message.buffer, message.byteOffset, message.byteLength))
  } catch (error) {
    // By its name: under jest a DataView throws another realm's.
    if ((error as Error).name === 'RangeError') return null
    throw error
  }
}

function demand(holds: boolean): asserts holds {
  if (!holds) throw new RangeError('malformed')
}

interface Table {
  readonly at: number
  /** Where a field's value lies; 0 when it is absent. */
  field(number: number, bytes: number): number
}

function requestNumbers(view: DataView): number[] {
  const length = view.byteLength
  const u32 = (at: number): number => view.getUint32(at, true)
  const u16 = (at: number): number => view.getUint16(at, true)
  const inside = (begin: number, bytes: number, align: number): void =>
    demand(begin >= 4 && begin + bytes <= length && begin % align === 0)

  const table = (at: number): Table => {
    inside(at, 4, 4)
    const vtable = at - view.getInt32(at, true)
    inside(vtable, 4, 2)
    const [vtableBytes, tableBytes] = [u16(vtable), u16(vtable + 2)]
    demand(vtableBytes >= 4 && vtableBytes % 2 === 0 && tableBytes >= 4)
    inside(vtable, vtableBytes, 2)
    inside(at, tableBytes, 4)
    return {
      at,
      field(number, bytes) {
        if (4 + 2 * number + 2 > vtableBytes) return 0
        const offset = u16(vtable + 4 + 2 * number)
        if (offset === 0) return 0
        demand(offset >= 4 && offset + bytes <= tableBytes && (at + offset) % Math.min(bytes, 4) === 0)
        return at + offset
      },
    }
  }
  const follow = (at: number): number => at + u32(at)
  const vector = (of: Table, number: number, elementBytes: number): readonly [begin: number, count: number] => {
    const at = of.field(number, 4)
    if (at === 0) return [0, 0]
    const head = follow(at)
    inside(head, 4, 4)
    inside(head + 4, u32(head) * elementBytes, 1)
    return [head + 4, u32(head)]
  }
  const text = (of: Table, number: number): readonly [begin: number, bytes: number] => {
    const [begin, bytes] = vector(of, number, 1)
    if (begin > 0) demand(view.getUint8(begin + bytes) === 0)
    return [begin, bytes]
  }
  const wide = (of: Table, number: number): readonly [lo: number, hi: number] => {
    const at = of.field(number, 8)
    return at === 0 ? [0, 0] : [u32(at), u32(at + 4)]
  }
  const word = (of: Table, number: number): number => {
    const at = of.field(number, 4)
    return at === 0 ? 0 : u32(at)
  }
  const byte = (of: Table, number: number): number => {
    const at = of.field(number, 1)
    return at === 0 ? 0 : view.getUint8(at)
  }

  const asText = ([begin, bytes]: readonly [number, number]): string =>
    Array.from({ length: bytes }, (_, b) => String.fromCharCode(view.getUint8(begin + b))).join('')
  /** Kind, name, version and experiment of an override. */
  const asked = (override: Table): number[] => {
    const [workflow, version, cell, experiment] = [
      text(override, 0),
      word(override, 1),
      text(override, 2),
      text(override, 3),
    ]
    const given = [workflow[0] > 0, version > 0, cell[0] > 0, experiment[0] > 0].map(Number).join('')
    demand(['1100', '0010', '0011'].includes(given))
    return given === '1100' ? [1, ...workflow, version, ...experiment] : [2, ...cell, version, ...experiment]
  }

  demand(length >= 12 && length % 4 === 0)
  demand(String.fromCharCode(...[4, 5, 6, 7].map((at) => view.getUint8(at))) === 'MRRQ')
  const root = table(u32(0))
  const priority = byte(root, 8)
  demand(priority <= 1)

  let traffic = 0
  let tenant: readonly [begin: number, bytes: number] = [0, 0]
  const [contextBegin, contextCount] = vector(root, 5, 4)
  demand(contextCount <= contextMax)
  const context = Array.from({ length: contextCount }, (_, i) => {
    const attribute = table(follow(contextBegin + 4 * i))
    const [name, kind, number] = [text(attribute, 0), byte(attribute, 1), attribute.field(3, 8)]
    demand(name[0] > 0 && kind <= 2)
    const named = asText(name)
    const said = asText(text(attribute, 2))
    if (['tenant', 'origin', 'traffic'].includes(named)) demand(kind === 0)
    if (named === 'tenant') tenant = text(attribute, 2)
    if (named === 'traffic') traffic = ['real', 'test', 'synthetic', 'shadow'].indexOf(said)
    demand(traffic >= 0)
    return [...name, kind, ...text(attribute, 2), number === 0 ? 0 : view.getFloat64(number, true)]
  })

  const [inputsBegin, inputCount] = vector(root, 6, 4)
  demand(inputCount <= columnsMax)
  const inputs = Array.from({ length: inputCount }, (_, i) => {
    const column = table(follow(inputsBegin + 4 * i))
    const [name, dtype, shape] = [text(column, 0), byte(column, 1), vector(column, 2, 4)]
    const [data, offsets] = [vector(column, 3, 1), vector(column, 4, 4)]
    demand(name[0] > 0 && shape[1] <= dimensionsMax && data[0] > 0 && data[0] % 8 === 0)
    return [...name, dtype, ...shape, ...data, ...offsets]
  })

  const overrideAt = root.field(9, 4)
  const override = overrideAt === 0 ? [0] : asked(table(follow(overrideAt)))
  const byNumber = (rows: readonly (readonly number[])[], numbers: number): number[] =>
    Array.from({ length: numbers }, (_, n) => rows.map((row) => row[n]!)).flat()
  return [
    ...[...wide(root, 0), ...text(root, 1), ...wide(root, 2), ...text(root, 3)],
    ...[root.field(4, 8) > 0 ? 1 : 0, ...wide(root, 4), word(root, 7), priority, word(root, 10)],
    ...[traffic, tenant[1], tenant[1] > 0 ? tenant[0] : 0, ...override, ...vector(root, 11, 1)],
    ...[contextCount, ...byNumber(context, 5)],
    ...[inputCount, ...byNumber(inputs, 9)],
    ...context.map((attribute) => attribute[5]!),
  ]
}
