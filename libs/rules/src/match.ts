import { murmur3Words } from './murmur3-words'
import { If, nameSeed, slotsMax, textSeed } from './program'
import type { Ask, Table } from './table'

/*
 * Conditions against the request that is looked up. Its attributes are bound to slots first, so that a condition is
 * a few reads of arrays. The slots are this thread's: a look-up is over before the next one begins.
 */

const ABSENT = 0
const TEXT = 1
const NUMBER = 2
const TRUTH = 3
const wireKinds = { text: 0, number: 1, truth: 2 } as const

const kind = new Uint8Array(slotsMax)
const begin = new Int32Array(slotsMax)
const length = new Int32Array(slotsMax)
const number = new Float64Array(slotsMax)
const hash = new Int32Array(slotsMax)
const hashed = new Uint8Array(slotsMax)

/** Binds the attributes that conditions ask for; those of another kind than the declared one are not there. */
export function bind(table: Table, ask: Ask): void {
  const { program, attributesAt, attributeKinds } = table
  for (let slot = 0; slot < attributeKinds.length; slot++) kind[slot] = ABSENT
  const { words, contextNameBegin, contextNameLength, contextKind } = ask
  const mask = program[attributesAt]!
  for (let i = 0; i < ask.contextCount; i++) {
    const from = contextNameBegin[i]!
    const bytes = contextNameLength[i]!
    const h = murmur3Words(words, from, bytes, nameSeed) | 0
    for (let at = attributesAt + 1 + 3 * (h & mask); program[at + 1] !== 0; at = following(at, 3, attributesAt, mask)) {
      if (program[at] !== h || !equals(program, program[at + 1]!, words, from, bytes)) continue
      const slot = program[at + 2]!
      if (contextKind[i] !== wireKinds[attributeKinds[slot]!]) kind[slot] = ABSENT
      else if (contextKind[i] === wireKinds.text) {
        kind[slot] = TEXT
        begin[slot] = ask.contextTextBegin[i]!
        length[slot] = ask.contextTextLength[i]!
        hashed[slot] = 0
      } else {
        kind[slot] = contextKind[i] === wireKinds.number ? NUMBER : TRUTH
        number[slot] = ask.contextNumber[i]!
      }
      break
    }
  }
}

/** Whether the condition at `at` holds for what is bound. */
export function holdsAt(table: Table, ask: Ask, at: number): boolean {
  const { program, numbers } = table
  const end = at + program[at + 1]!
  const slot = program[at + 2]!
  switch (program[at]) {
    case If.ALL:
      for (let one = at + 2; one < end; one += program[one + 1]!) if (!holdsAt(table, ask, one)) return false
      return true
    case If.ANY:
      for (let one = at + 2; one < end; one += program[one + 1]!) if (holdsAt(table, ask, one)) return true
      return false
    case If.NOT:
      return !holdsAt(table, ask, at + 2)
    case If.TEXT_IN:
      return kind[slot] === TEXT && textIn(program, program[at + 3]!, slot, ask.words)
    case If.NUMBER_IN:
      if (kind[slot] !== NUMBER) return false
      for (let n = program[at + 3]!; n < program[at + 4]!; n++) if (numbers[n] === number[slot]) return true
      return false
    case If.RANGE: {
      const below = numbers[program[at + 3]! + 1]!
      // NaN: there is no upper end.
      return (
        kind[slot] === NUMBER &&
        number[slot]! >= numbers[program[at + 3]!]! &&
        (Number.isNaN(below) || number[slot]! < below)
      )
    }
    case If.TRUTH:
      return kind[slot] === TRUTH && (number[slot] !== 0) === (program[at + 3] === 1)
    default:
      return kind[slot] !== ABSENT
  }
}

/** Whether the slot holds a text; with a literal: that one. */
export function isText(slot: number, program?: Int32Array, literal = 0, words?: Uint32Array): boolean {
  if (kind[slot] !== TEXT) return false
  return program === undefined || equals(program, literal, words!, begin[slot]!, length[slot]!)
}

function textIn(program: Int32Array, set: number, slot: number, words: Uint32Array): boolean {
  if (hashed[slot] === 0) {
    hash[slot] = murmur3Words(words, begin[slot]!, length[slot]!, textSeed)
    hashed[slot] = 1
  }
  const h = hash[slot]!
  const mask = program[set]!
  for (let at = set + 1 + 2 * (h & mask); program[at + 1] !== 0; at = following(at, 2, set, mask))
    if (program[at] === h && equals(program, program[at + 1]!, words, begin[slot]!, length[slot]!)) return true
  return false
}

/** The next entry of a hash set at `set`, around its end. */
function following(at: number, width: number, set: number, mask: number): number {
  const next = at + width
  return next > set + 1 + mask * width ? set + 1 : next
}

/** Whether the literal is the text of `bytes` bytes at `from`; what follows a text in its last word does not count. */
export function equals(program: Int32Array, literal: number, words: Uint32Array, from: number, bytes: number): boolean {
  if (program[literal] !== bytes) return false
  const whole = bytes >>> 2
  const word = from >>> 2
  for (let i = 0; i < whole; i++) if (program[literal + 1 + i] !== (words[word + i]! | 0)) return false
  const tail = bytes & 3
  return tail === 0 || program[literal + 1 + whole] === (words[word + whole]! & ((1 << (8 * tail)) - 1))
}
