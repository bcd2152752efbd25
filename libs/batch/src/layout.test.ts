import {
  Arena,
  attributeSpec,
  denseArray,
  Strings,
  StringsWriter,
  type ColumnSpec,
  type DTypeName,
  type Signature,
} from '@millrace/base'
import fc from 'fast-check'
import { Header, layoutSlab, openSlab, slabBytesPerRow, type Layout } from './index'

const dense = ['f32', 'f64', 'i8', 'u8', 'i16', 'u16', 'i32', 'u32', 'i64', 'u64', 'bool'] as const

const denseColumn = fc.record({
  dtype: fc.constantFrom<DTypeName>(...dense),
  per: fc.constantFrom('row' as const, 'request' as const),
  shape: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 3 }),
  ragged: fc.constant(false),
})
const text = fc.record({
  dtype: fc.constantFrom<DTypeName>('string', 'bytes'),
  per: fc.constantFrom('row' as const, 'request' as const),
  shape: fc.constant([]),
  ragged: fc.constant(true),
})
const columns = (prefix: string): fc.Arbitrary<ColumnSpec[]> =>
  fc
    .array(fc.oneof(denseColumn, text), { maxLength: 6 })
    .map((columns) => columns.map((column, c) => ({ ...column, name: `${prefix}${c}` })))
const context = fc
  .array(fc.constantFrom('text' as const, 'number' as const, 'truth' as const), { minLength: 1, maxLength: 4 })
  .map((kinds) => kinds.map((kind, i) => attributeSpec(`context ${i}`, kind, null)))
const signature: fc.Arbitrary<Signature> = fc.record(
  { inputs: columns('in'), outputs: columns('out'), context },
  { requiredKeys: ['inputs', 'outputs'] },
)

interface Region {
  readonly what: string
  readonly begin: number
  readonly bytes: number
}

function expectApart(regions: readonly Region[], from: number, to: number): void {
  const sorted = regions.filter((region) => region.bytes > 0).sort((a, b) => a.begin - b.begin)
  let end = from
  for (const { what, begin, bytes } of sorted) {
    expect({ what, overlaps: begin < end }).toEqual({ what, overlaps: false })
    end = begin + bytes
  }
  expect(end).toBeLessThanOrEqual(to)
}

function regionsOf(layout: Layout, rows: number): Region[] {
  const { signature } = layout
  return [
    { what: 'header', begin: 0, bytes: 64 },
    { what: 'requestOf', begin: layout.requestOf, bytes: 4 * rows },
    { what: 'deadlines', begin: layout.deadlines, bytes: 4 * rows },
    { what: 'kept', begin: layout.kept, bytes: 4 * rows },
    { what: 'codes', begin: layout.codes, bytes: 4 * rows },
    { what: 'messages', begin: layout.messages, bytes: 8 * rows },
    ...signature.inputs.map(({ name, ...spec }, c) => ({
      what: name,
      begin: layout.inputs[c]!,
      bytes: rows * slabBytesPerRow({ name, ...spec }),
    })),
    ...(signature.context ?? []).map(({ name, ...spec }, c) => ({
      what: name,
      begin: layout.context[c]!,
      bytes: rows * slabBytesPerRow({ name, ...spec }),
    })),
    ...signature.outputs.map(({ name, ...spec }, c) => ({
      what: name,
      begin: layout.outputs[c]!,
      bytes: rows * slabBytesPerRow({ name, ...spec }),
    })),
  ]
}

test('columns are apart and aligned to 8 bytes', () => {
  fc.assert(
    fc.property(signature, fc.integer({ min: 1, max: 300 }), (signature, rowsMax) => {
      const layout = layoutSlab(signature, rowsMax)
      const regions = regionsOf(layout, rowsMax)
      expectApart(regions, 0, layout.heap)
      for (const { what, begin } of regions) expect({ what, begin: begin % 8 }).toEqual({ what, begin: 0 })
      expect(layout.heap % 8).toBe(0)
    }),
    { seed: 1, numRuns: 300 },
  )
})

const opened = fc
  .record({ signature, rowsMax: fc.integer({ min: 1, max: 40 }) })
  .chain(({ signature, rowsMax }) =>
    fc.record({
      layout: fc.constant(layoutSlab(signature, rowsMax)),
      rows: fc.integer({ min: 1, max: rowsMax }),
      heapUsed: fc.nat(100),
      seed: fc.integer(),
    }),
  )
  .chain((one) => fc.record({ ...record(one), requests: fc.integer({ min: 1, max: one.rows }) }))

function record<T extends object>(values: T): { [K in keyof T]: fc.Arbitrary<T[K]> } {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, fc.constant(value)])) as never
}

test('both threads see the same columns, each its own bytes of the block', () => {
  fc.assert(
    fc.property(opened, ({ layout, rows, requests, heapUsed }) => {
      const arena = new Arena(2 ** 18, 64)
      arena.take(1)
      const needed = layout.heap + 4096
      const offset = arena.take(needed)
      const blockBytes = arena.blockBytes(needed)
      // Whatever lay there before must not be taken for a string.
      arena.bytes.fill(0xee, offset, offset + layout.heap)
      const words = new Uint32Array(arena.memory, offset, 16)
      words[Header.rows] = rows
      words[Header.requests] = requests
      words[Header.heapUsed] = heapUsed

      const slab = openSlab(arena.memory, layout, offset, blockBytes)
      expect([slab.rows, slab.requests, slab.cursor.used]).toEqual([rows, requests, heapUsed])
      const views: [string, ArrayBufferView][] = [
        ['header', slab.header],
        ['requestOf', slab.requestOf],
        ['codes', slab.codes],
        ['messages', slab.messages.spans],
        ['heap', slab.messages.heap],
      ]
      const { inputs, context = [], outputs } = layout.signature
      for (const specs of [inputs, context, outputs])
        for (const spec of specs) {
          const column = slab.inputs[spec.name] ?? slab.context[spec.name] ?? slab.outputs[spec.name]!
          const n = spec.per === 'row' ? rows : requests
          if ('spans' in column) {
            expect(column).toBeInstanceOf(specs === outputs ? StringsWriter : Strings)
            expect(column.length).toBe(n)
            expect(column.heap.byteOffset).toBe(offset + layout.heap)
            views.push([spec.name, column.spans])
          } else {
            expect(column).toBeInstanceOf(denseArray(spec.dtype as 'f32', 0).constructor)
            expect(column.length).toBe(n * spec.shape.reduce((product, size) => product * size, 1))
            views.push([spec.name, column])
          }
        }
      for (const [, view] of views) expect(view.buffer).toBe(arena.memory)
      const regions = views.map(([what, view]) => ({ what, begin: view.byteOffset, bytes: view.byteLength }))
      expectApart(regions, offset, offset + blockBytes)

      // What the worker writes, the front thread reads; what it does not write is empty.
      const written = layout.signature.outputs.filter((spec) => spec.ragged)
      for (const spec of written) {
        const column = slab.outputs[spec.name] as StringsWriter
        expect([...column.spans].every((word) => word === 0)).toBe(true)
        column.set(column.length - 1, `${spec.name}!`)
      }
      slab.messages.set(0, 'refused')
      for (const spec of written) {
        const { spans, heap, length } = slab.outputs[spec.name] as StringsWriter
        const front = new Strings(new Uint32Array(arena.memory, spans.byteOffset, 2 * length), heap, length)
        expect(front.at(length - 1)).toBe(`${spec.name}!`)
      }
      expect(new Strings(slab.messages.spans, slab.messages.heap, requests).at(0)).toBe('refused')
    }),
    { seed: 1, numRuns: 200 },
  )
})

test('a header that cannot be is a bug', () => {
  const arena = new Arena(2 ** 12, 64)
  const layout = layoutSlab({ inputs: [], outputs: [] }, 4)
  const words = new Uint32Array(arena.memory)
  for (const [rows, requests] of [
    [5, 1],
    [2, 3],
  ] as const) {
    words[Header.rows] = rows
    words[Header.requests] = requests
    expect(() => openSlab(arena.memory, layout, 0, 1024)).toThrow(/slab of/)
  }
})
