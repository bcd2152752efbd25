import fc from 'fast-check'
import { Strings, StringsWriter, type HeapCursor } from './index'

const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.uint8Array())
const bytesOf = (value: string | Uint8Array): Buffer => Buffer.from(value as string)

test('strings come back as they went in', () => {
  fc.assert(
    fc.property(fc.array(value), (values) => {
      const strings = Strings.of(values)
      expect(strings.length).toBe(values.length)
      expect(strings.toArray()).toEqual(values.map((value) => bytesOf(value).toString('utf8')))
      values.forEach((value, i) => expect(strings.bytes(i).equals(bytesOf(value))).toBe(true))
    }),
    { seed: 1 },
  )
})

test('writers of one batch share its heap, in any order of rows', () => {
  const writes = fc.uniqueArray(fc.record({ row: fc.nat(15), column: fc.nat(1), value }), {
    selector: ({ row, column }) => row * 2 + column,
  })
  fc.assert(
    fc.property(writes, fc.nat(10), (writes, used) => {
      const heap = Buffer.alloc(4096, 0xee)
      const cursor: HeapCursor = { used }
      const writers = [0, 1].map(() => new StringsWriter(new Uint32Array(32), heap, 16, cursor))
      for (const { row, column, value } of writes) writers[column]!.set(row, value)
      expect(cursor.used).toBe(used + writes.reduce((sum, { value }) => sum + bytesOf(value).length, 0))
      writers.forEach((writer, column) => {
        const read = new Strings(writer.spans, heap, 16)
        for (let row = 0; row < 16; row++) {
          const write = writes.find((one) => one.row === row && one.column === column)
          expect(read.bytes(row).equals(bytesOf(write?.value ?? ''))).toBe(true)
        }
      })
    }),
    { seed: 1 },
  )
})

test('a full heap refuses with what to change, and keeps what it has', () => {
  const cursor: HeapCursor = { used: 0 }
  const writer = new StringsWriter(new Uint32Array(4), Buffer.alloc(4), 2, cursor)
  writer.set(0, 'é')
  expect(() => writer.set(1, 'ééé')).toThrow(/MILLRACE_SLAB_STRING_BYTES/)
  expect(new Strings(writer.spans, writer.heap, 2).toArray()).toEqual(['é', ''])
  writer.set(1, 'é')
  expect(cursor.used).toBe(4)
  expect(new Strings(writer.spans, writer.heap, 2).toArray()).toEqual(['é', 'é'])
})

test('rows that the batch does not have are a bug', () => {
  const writer = new StringsWriter(new Uint32Array(2), Buffer.alloc(8), 1, { used: 0 })
  expect(() => writer.set(1, 'a')).toThrow(/row 1 of 1/)
  expect(() => writer.set(-1, 'a')).toThrow(/row -1 of 1/)
})
