import type { Strings } from '@millrace/base'

/** Text to the numbers that a model knows its pieces by. Built once, when the workflow file is loaded. */
export interface Tokeniser {
  encode(text: string): number[]
}

export interface TokeniseOptions {
  /** Tokens of one row: longer texts are cut, shorter ones padded. */
  readonly length: number
  /** Token of the places after a text; default 0. */
  readonly padding?: number
  /** Token before each text, as BERT's `[CLS]`; none by default. Counts in `length`, as `end` does. */
  readonly begin?: number
  /** Token after each text, as BERT's `[SEP]`; it stands also behind a text that was cut. */
  readonly end?: number
}

type Integers = Int32Array | BigInt64Array | Float32Array

/**
 * The tokens of each text of a column into row `i` of `ids`, `[rows, length]`, i32, i64 or f32; places after the text
 * hold `padding`. `mask`, of the same shape, gets 1 where a token is and 0 where padding is.
 *
 * Returns how many tokens each text has in all, `begin` and `end` included, before it was cut: a count over `length` is
 * a text that lost its end, which a workflow may refuse.
 *
 * Throws a RangeError when `ids` or `mask` is not of `rows x length` elements, or `length` has no room for a token.
 */
export function tokenise(
  texts: Strings,
  tokeniser: Tokeniser,
  { length, padding = 0, begin, end }: TokeniseOptions,
  ids: Integers,
  mask?: Integers,
): Uint32Array {
  const ends = (begin === undefined ? 0 : 1) + (end === undefined ? 0 : 1)
  const room = length - ends
  if (!(room > 0))
    throw new RangeError(`tokenise: length is ${length}; with ${ends} tokens around it is at least ${ends + 1}`)
  for (const [name, array] of [
    ['ids', ids],
    ['mask', mask],
  ] as const)
    if (array !== undefined && array.length !== texts.length * length)
      throw new RangeError(
        `tokenise: ${name} has ${array.length} elements; ${texts.length} rows of ${length} are ${texts.length * length}`,
      )
  const counts = new Uint32Array(texts.length)
  const put = writerOf(ids)
  const mark = mask === undefined ? undefined : writerOf(mask)
  for (let row = 0; row < texts.length; row++) {
    const tokens = tokeniser.encode(texts.at(row))
    counts[row] = tokens.length + ends
    const first = row * length
    let at = first
    if (begin !== undefined) put(at++, begin)
    for (let i = 0; i < tokens.length && i < room; i++) put(at++, tokens[i]!)
    if (end !== undefined) put(at++, end)
    for (let place = first; place < first + length; place++) {
      mark?.(place, place < at ? 1 : 0)
      if (place >= at) put(place, padding)
    }
  }
  return counts
}

function writerOf(array: Integers): (at: number, value: number) => void {
  // By name: the array may be of another realm.
  if (array.constructor.name === 'BigInt64Array') {
    const integers = array as BigInt64Array
    return (at, value) => void (integers[at] = BigInt(value))
  }
  const numbers = array as Int32Array
  return (at, value) => void (numbers[at] = value)
}
