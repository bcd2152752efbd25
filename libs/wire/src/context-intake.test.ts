import { attributeSpec, kindOf, Strings, type AttributeValue, type Context } from '@millrace/base'
import fc from 'fast-check'
import { texts } from '../test/messages'
import { contextIntakeOf, copyContext, matchContext, standIn } from './context-intake'
import { encodeRequest } from './encode'
import { Matched } from './intake'
import { RequestView } from './request-view'
import { verifyRequest } from './verify'

function viewOf(message: Uint8Array): RequestView {
  const view = new RequestView()
  expect(verifyRequest(message.buffer, message.byteOffset, message.length, view)).toBe(true)
  return view
}

const canary = 0xab

/** What the slab holds for request 1 of 2, of attributes that lie one after the other. */
function copied(
  context: Context,
  missing: Context,
  given: Readonly<Record<string, AttributeValue>>,
): unknown[] | string {
  const specs = Object.entries(missing).map(([name, value]) => attributeSpec(name, kindOf(value), value))
  const intake = contextIntakeOf(specs)!
  const matched = new Matched()
  specs.forEach(({ name }, a) => (matched.standIn[a] = Object.hasOwn(given, name) ? standIn(given[name]!) : null))
  const view = viewOf(encodeRequest({ context }))
  if (!matchContext(view, intake, matched)) return matched.fault
  const slab = 64
  const places = Int32Array.from(specs, (_, a) => 16 * a)
  const heap = slab + 16 * specs.length
  const used = 8 + matched.contextBytes
  const memory = new Uint8Array(heap + used + 64).fill(canary)
  const words = new Uint32Array(memory.buffer)
  expect(copyContext(view, intake, matched, memory, words, slab, places, 1, heap, 8)).toBe(used)
  // Nothing of request 0, before the heap's use or behind it.
  expect(memory.subarray(0, slab).every((byte) => byte === canary)).toBe(true)
  expect(memory.subarray(heap + used).every((byte) => byte === canary)).toBe(true)
  expect(memory.subarray(heap, heap + 8).every((byte) => byte === canary)).toBe(true)
  return specs.map(({ kind }, a) => {
    const at = slab + places[a]!
    if (kind === 'truth') return memory[at + 1] === 1
    if (kind === 'number') return new DataView(memory.buffer).getFloat64(at + 8, true)
    return new Strings(new Uint32Array(memory.buffer, at, 4), Buffer.from(memory.buffer, heap), 2).at(1)
  })
}

test('what is set counts before what is said, and that before what is declared', () => {
  const missing = { country: 'none', age: -1, kids: true }
  expect(copied({}, missing, {})).toEqual(['none', -1, true])
  const said = { country: 'US', age: 0, kids: false, other: 5 }
  expect(copied(said, missing, {})).toEqual(['US', 0, false])
  expect(copied(said, missing, { country: '', age: 2 })).toEqual(['', 2, false])
  expect(copied({ country: 5 }, missing, {})).toBe('context.country: came as number; the workflow reads it as text')
  expect(copied({ country: 5 }, missing, { country: 'CH' })).toEqual(['CH', -1, true])
})

test('any values come through, and nothing beside them is written', () => {
  const values = fc.oneof(texts, fc.string({ minLength: 500, maxLength: 540 }), fc.double(), fc.boolean())
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(texts, values), { selector: ([name]) => name, maxLength: 10 }), (entries) => {
      const named = entries.filter(([name]) => name !== '__proto__')
      const context = Object.fromEntries(named)
      fc.pre(named.length > 0)
      const expected = named.map(([, value]) => (value === 0 ? 0 : value))
      expect(copied(context, context, {})).toEqual(expected)
      expect(copied({}, context, {})).toEqual(named.map(([, value]) => value))
    }),
    { seed: 1, numRuns: 300 },
  )
})

test('of two attributes of one name the last one counts', () => {
  const message = encodeRequest({ context: { aa: 'first', ab: 'last' } })
  // The second name becomes the first's.
  const at = Buffer.from(message.buffer, message.byteOffset, message.length).indexOf('ab\0')
  message[at + 1] = 'a'.charCodeAt(0)
  const view = viewOf(message)
  const matched = new Matched()
  expect(matchContext(view, contextIntakeOf([attributeSpec('aa', 'text', null)])!, matched)).toBe(true)
  expect(view.contextTextLength[matched.attribute[0]!]).toBe('last'.length)
})
