import { Strings } from '@millrace/base'
import { tokenise, Unigram, Vocabulary, WordPiece, Words } from './index'

const vocabulary = [
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  'the',
  'un',
  '##aff',
  '##able',
  'want',
  '##ed',
  'run',
  '##ning',
  'cafe',
  'Cafe',
  'caf\u00e9',
  ',',
  '!',
  '?',
  '#',
  '##s',
  '\u65e5',
  '\u672c',
  'a',
  'b',
  'c',
  '##b',
  '##c',
  'deja',
  'vu',
  '##u',
  'naive',
  '-',
  '$',
  '5',
  '0',
  '##0',
  'stra\u00dfe',
  'strasse',
  '\u00e9',
  '##\u00e9',
  'i',
  '\u0130',
  '##i',
  '~',
  '`',
  '\u20ac',
  'x',
  '##x',
  '\u00b0',
  'i\u0307',
  "'",
  'don',
  't',
  '\u2026',
  '\u2603',
]

/** Text, uncased tokens, cased tokens: what BertWordPieceTokenizer of the Python package tokenizers 0.23.3 gives. */
const reference: readonly (readonly [text: string, uncased: readonly number[], cased: readonly number[]])[] = [
  ['UNaffable, wanted!', [5, 6, 7, 15, 8, 9, 16], [1, 15, 8, 9, 16]],
  ['unwanted running  the\tcaf\u00e9', [1, 10, 11, 4, 12], [1, 10, 11, 4, 14]],
  ['Caf\u00e9 na\u00efve d\u00e9j\u00e0-vu?', [12, 30, 27, 31, 28, 17], [1, 1, 1, 31, 28, 17]],
  ['\u65e5\u672c a\u65e5b', [20, 21, 22, 20, 23], [20, 21, 22, 20, 23]],
  ['abc abcb cab', [22, 25, 26, 22, 25, 26, 25, 1], [22, 25, 26, 22, 25, 26, 25, 1]],
  ['$500 ~x` \u20acx', [32, 33, 35, 35, 43, 46, 44, 45, 47], [32, 33, 35, 35, 43, 46, 44, 45, 47]],
  ['\u0000a\u200bb\ufffdc', [22, 25, 26], [22, 25, 26]],
  ['stra\u00dfe STRASSE', [36, 37], [36, 1]],
  ['\u0130i', [40, 42], [41, 42]],
  ["don't\u2026\u2603", [51, 50, 52, 53, 54], [51, 50, 52, 53, 54]],
  ['', [], []],
  ['   ', [], []],
  [`${'a'.repeat(100)} ${'a'.repeat(101)}`, [1, 1], [1, 1]],
  ['xxxx xx', [46, 47, 47, 47, 46, 47], [46, 47, 47, 47, 46, 47]],
  ['e\u0301', [1], [1]],
  ['5\u00b0', [1], [1]],
  ['running\u00a0the\u3000un', [10, 11, 4, 5], [10, 11, 4, 5]],
  ['a\u00adb', [22, 25], [22, 25]],
  ['\ud83c\udf89 the', [1, 4], [1, 4]],
  [
    'x'.repeat(100),
    [
      46, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
      47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
      47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
      47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
    ],
    [
      46, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
      47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
      47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
      47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47,
    ],
  ],
  ['x'.repeat(101), [1], [1]],
]

describe('WordPiece', () => {
  it('gives what the reference gives', () => {
    const uncased = new WordPiece(`${vocabulary.join('\n')}\n`)
    const cased = new WordPiece(vocabulary, { lowercase: false })
    for (const [text, small, capital] of reference) {
      expect([text, uncased.encode(text)]).toEqual([text, small])
      expect([text, cased.encode(text)]).toEqual([text, capital])
    }
  })

  it('never takes text for a control piece', () => {
    const tokeniser = new WordPiece(vocabulary)
    expect(tokeniser.encode('[CLS][SEP]')).not.toContain(tokeniser.token('[CLS]'))
  })

  it('names the piece that the vocabulary does not have', () => {
    expect(() => new WordPiece(['a'])).toThrow("no piece '[UNK]'")
    expect(() => new WordPiece(vocabulary).token('[MASK]')).toThrow("no piece '[MASK]'")
  })
})

describe('Words', () => {
  it('finds words whatever stands between them', () => {
    const words = new Vocabulary(['the', 'café', '42', 'naïve'])
    expect(new Words(words).encode('The cafe\u0301, (42)… naïve: the unknown')).toEqual([0, 1, 2, 3, 0])
    expect(new Words(words, { unknown: 9 }).encode('THE-other')).toEqual([0, 9])
    expect(new Words(words, { lowercase: false }).encode('The the')).toEqual([0])
  })
})

describe('Unigram', () => {
  it('takes its own control pieces and unknown token', () => {
    const tokeniser = new Unigram(
      [
        ['<unk>', 0],
        ['▁a', -1],
        ['b', -1],
      ],
      { reserved: 1, unknown: 7 },
    )
    expect(tokeniser.encode('ab c a')).toEqual([1, 2, 7, 1])
  })
})

describe('tokenise', () => {
  const tokeniser = { encode: (text: string) => Array.from(text, (letter) => letter.charCodeAt(0) - 96) }
  const texts = Strings.of(['ab', '', 'abcdef'])

  it.each([
    ['i32', Int32Array],
    ['i64', BigInt64Array],
    ['f32', Float32Array],
  ] as const)('pads, cuts and marks, in %s', (_, Array) => {
    const ids = new Array(12)
    const mask = new Array(12)
    const counts = tokenise(texts, tokeniser, { length: 4, begin: 50, end: 60, padding: 7 }, ids, mask)
    expect([...ids].map(Number)).toEqual([50, 1, 2, 60, 50, 60, 7, 7, 50, 1, 2, 60])
    expect([...mask].map(Number)).toEqual([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1])
    expect([...counts]).toEqual([4, 2, 8])
  })

  it('needs neither ends nor mask', () => {
    const ids = new Int32Array(9)
    tokenise(texts, tokeniser, { length: 3 }, ids)
    expect([...ids]).toEqual([1, 2, 0, 0, 0, 0, 1, 2, 3])
  })

  it('says which array is of another size', () => {
    expect(() => tokenise(texts, tokeniser, { length: 3 }, new Int32Array(8))).toThrow(
      'ids has 8 elements; 3 rows of 3',
    )
    expect(() => tokenise(texts, tokeniser, { length: 1 }, new Int32Array(3), new Int32Array(4))).toThrow('mask has 4')
    expect(() => tokenise(texts, tokeniser, { length: 2, begin: 1, end: 2 }, new Int32Array(6))).toThrow('at least 3')
  })
})
