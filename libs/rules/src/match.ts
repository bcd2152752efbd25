import { murmur3Words } from './murmur3-words'
import { firstWord, lastWord, nameHash, wholeBytes } from './name-hash'
import { Op, slotsMax, textSeed } from './program'
import type { Ask, Table } from './table'

/*
 * Conditions against the request that is looked up. Its attributes are bound to slots first, so that a condition is
 * a few reads of arrays. The slots are this thread's: a look-up is over before the next one begins.
 */

const ABSENT = -1

/** By slot: the place of the attribute in the context of the request. */
const place = new Int32Array(slotsMax)
/** By slot: the hash of its text, once a test asked for it. */
const hash = new Int32Array(slotsMax)
const hashed = new Uint8Array(slotsMax)

/** Binds the attributes that conditions ask for; those of another kind than the declared one are not there. */
export function bind(table: Table, ask: Ask): void {
  const { program, attributesAt, slots } = table
  for (let slot = 0; slot < slots; slot++) place[slot] = ABSENT
  const { words, contextCount, contextNameBegin, contextNameLength, contextKind } = ask
  const mask = program[attributesAt]!
  for (let i = 0; i < contextCount; i++) {
    const from = contextNameBegin[i]!
    const bytes = contextNameLength[i]!
    const first = firstWord(words, from, bytes)
    const last = lastWord(words, from, bytes)
    const h = nameHash(bytes, first, last)
    for (let at = attributesAt + 1 + 7 * (h & mask); program[at + 1] !== 0; at = following(at, 7, attributesAt, mask)) {
      if (program[at + 4] !== bytes || program[at + 5] !== first || program[at + 6] !== last) continue
      if (bytes > wholeBytes && !equals(program, program[at + 1]!, words, from, bytes)) continue
      const slot = program[at + 2]!
      place[slot] = contextKind[i] === program[at + 3] ? i : ABSENT
      hashed[slot] = 0
      break
    }
  }
}

/** Where a look-up goes on after the test at `at`. */
export function afterTest(table: Table, ask: Ask, at: number): number {
  const { program } = table
  return program[at + (passes(table, ask, at) ? 4 : 5)]!
}

function passes({ program, numbers }: Table, ask: Ask, at: number): boolean {
  const slot = program[at + 2]!
  const value = program[at + 3]!
  const i = place[slot]!
  if (i === ABSENT) return false
  switch (program[at]) {
    case Op.TEXT_IN:
      return isAmongFew(program, value, ask.words, ask.contextTextBegin[i]!, ask.contextTextLength[i]!)
    case Op.TEXT_IN_MANY:
      return isAmongMany(program, value, slot, ask.words, ask.contextTextBegin[i]!, ask.contextTextLength[i]!)
    case Op.NUMBER_IN:
      for (let n = value + 1, end = n + numbers[value]!; n < end; n++)
        if (numbers[n] === ask.contextNumber[i]) return true
      return false
    case Op.RANGE: {
      const number = ask.contextNumber[i]!
      const below = numbers[value + 1]!
      // NaN: there is no upper end.
      return number >= numbers[value]! && (Number.isNaN(below) || number < below)
    }
    case Op.TRUTH:
      return (ask.contextNumber[i] !== 0) === (value === 1)
    default:
      return true
  }
}

/** Whether the attribute of a slot is there; with a literal: whether it is this text. */
export function isText(ask: Ask, slot: number, program?: Int32Array, literal = 0): boolean {
  const i = place[slot]!
  if (i === ABSENT) return false
  return (
    program === undefined || equals(program, literal, ask.words, ask.contextTextBegin[i]!, ask.contextTextLength[i]!)
  )
}

/** Their length and first word tell nearly all texts apart. */
function isAmongFew(program: Int32Array, few: number, words: Uint32Array, begin: number, bytes: number): boolean {
  const first = firstWord(words, begin, bytes)
  for (let at = few + 1, end = at + 3 * program[few]!; at < end; at += 3)
    if (program[at] === bytes && program[at + 1] === first)
      if (bytes <= 4 || equals(program, program[at + 2]!, words, begin, bytes)) return true
  return false
}

function isAmongMany(
  program: Int32Array,
  set: number,
  slot: number,
  words: Uint32Array,
  begin: number,
  bytes: number,
): boolean {
  if (hashed[slot] === 0) {
    hash[slot] = murmur3Words(words, begin, bytes, textSeed)
    hashed[slot] = 1
  }
  const h = hash[slot]!
  const mask = program[set]!
  for (let at = set + 1 + 2 * (h & mask); program[at + 1] !== 0; at = following(at, 2, set, mask))
    if (program[at] === h && equals(program, program[at + 1]!, words, begin, bytes)) return true
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
