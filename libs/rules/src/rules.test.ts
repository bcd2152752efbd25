import fc from 'fast-check'
import { murmur3 } from '@millrace/base'
import { allocate, compileRules, explain, lookUp, murmur3Words, objectiveHash, parseRules, RulesError } from './index'

const encode = (text: string): [Uint32Array, number] => {
  const bytes = new TextEncoder().encode(text)
  // Bytes after the string are not zero: a message goes on.
  const padded = new Uint8Array((bytes.length + 7) & ~3).fill(0xee)
  padded.set(bytes)
  return [new Uint32Array(padded.buffer), bytes.length]
}
const json = {
  objectives: { price: { default: 'price@1' }, title: { default: 'title@1' } },
  experiments: [
    {
      id: 'm',
      objectives: ['price'],
      cells: [
        { name: 'a', weight: 50, workflow: 'price@1' },
        { name: 'b', weight: 50, workflow: 'price@2' },
      ],
    },
  ],
}
const versions = [1, 2].map((version) => ({ name: 'price', version })).concat({ name: 'title', version: 1 })

test('words hash as their bytes do', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer(), (text, seed) => {
      const [words, length] = encode(text)
      expect(murmur3Words(words, 0, length, seed)).toBe(murmur3(new Uint8Array(words.buffer), 0, length, seed))
    }),
    { seed: 1 },
  )
})

test('published vectors', () => {
  expect(objectiveHash('a')).toEqual({ hi: 0xaf63dc4c, lo: 0x8601ec8c })
  expect(objectiveHash('foobar')).toEqual({ hi: 0x85944171, lo: 0xf73967e8 })
  expect(murmur3Words(new Uint32Array(0), 0, 0, 1)).toBe(0x514e28b7)
  expect(murmur3Words(new Uint32Array([0x64636261]), 0, 4, 0x9747b28c)).toBe(0xf0478627)
})

test('the table decides as the rules say', () => {
  const table = compileRules(parseRules(json), versions, 7)
  const { lo, hi } = objectiveHash('price')
  const counts: Record<string, number> = { a: 0, b: 0 }
  for (let i = 0; i < 10_000; i++) {
    const route = table.routes[lookUp(table, lo, hi, ...withBegin(`account-${i}`))]!
    expect(route.cell).toBe(allocate('m', `account-${i}`, json.experiments[0]!.cells).name)
    counts[route.cell!]!++
  }
  // One degree of freedom: 10.8 is p = 0.001.
  expect((counts['a']! - 5000) ** 2 / 5000 + (counts['b']! - 5000) ** 2 / 5000).toBeLessThan(10.8)
  expect(table.routes[lookUp(table, lo, hi, null, 0, 0)]!.rule).toBe('default')
  expect(lookUp(table, 1, 2, null, 0, 0)).toBe(-1)
  expect(explain(table, lo, hi, null, 0, 0).map((one) => one.matched)).toEqual([false, true])
})

test('problems come together', () => {
  expect(() => compileRules(parseRules(json), [], 1)).toThrow(/price@2[^]*title@1/)
  expect(() => parseRules({ objectives: { a: { default: 'x' }, b: {} } })).toThrow(RulesError)
})

function withBegin(text: string): [Uint32Array, number, number] {
  const [words, length] = encode(text)
  return [words, 0, length]
}
