import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { runRepository, steps } from '@millrace/workflow'
import { repositoryFolder } from './repository-folder'
import { sentenceModelPackage } from './sentence-model'

const { Unigram } = steps
type Piece = steps.Piece

const pieces = JSON.parse(readFileSync(require.resolve(`${sentenceModelPackage}/dist/vocab.json`), 'utf8')) as Piece[]

const tinyPieces: readonly Piece[] = [
  ...Array.from({ length: 6 }, (_, i): Piece => [`<${i}>`, 0]),
  ['▁', -1],
  ['a', -2],
  ['b', -2],
  ['ab', -3.4],
  ['▁ab', -5],
  ['▁a', -2.5],
  ['bab', -3.9],
]

describe('tokeniser', () => {
  const tiny = new Unigram(tinyPieces)
  const tokeniser = new Unigram(pieces)
  const spell = (text: string): string[] => tokeniser.encode(text).map((token) => pieces[token]![0])

  test('gives the tokens that the network was published with', () => {
    // From the README of TensorFlow.js' universal-sentence-encoder.
    expect(tokeniser.encode('Hello, how are you?')).toEqual([341, 4125, 8, 140, 31, 19, 54])
  })

  test('spells with the likeliest pieces', () => {
    expect(spell('Hello, how are you?')).toEqual(['▁H', 'ello', ',', '▁how', '▁are', '▁you', '?'])
    expect(tiny.encode('ab')).toEqual([6, 9])
    expect(tiny.encode('aab')).toEqual([11, 9])
    expect(tiny.encode('ab a')).toEqual([6, 9, 11])
  })

  test('finds the likeliest of all spellings', () => {
    const scoreOf = (tokens: readonly number[]): number => tokens.reduce((sum, token) => sum + tinyPieces[token]![1], 0)
    /** The best score of spelling `text`, by trying everything. */
    const best = (text: string): number =>
      text === ''
        ? 0
        : Math.max(
            ...tinyPieces.map(([piece, score], i) =>
              i >= 6 && text.startsWith(piece) ? score + best(text.slice(piece.length)) : -Infinity,
            ),
          )
    const texts = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(texts, (text) => {
        const tokens = tiny.encode(text)
        expect(tokens.map((token) => tinyPieces[token]![0]).join('')).toBe(`▁${text}`)
        expect(scoreOf(tokens)).toBeCloseTo(best(`▁${text}`), 9)
      }),
      { seed: 20261123 },
    )
  })

  test('takes white space as one space and forms that look alike as one', () => {
    const plain = tokeniser.encode('fine words')
    for (const text of ['  fine   words ', 'fine\twords\n', 'ﬁne words', 'ｆｉｎｅ words'])
      expect(tokeniser.encode(text)).toEqual(plain)
  })

  test('makes one unknown token of a run of unknown characters', () => {
    expect(tokeniser.encode('🎉')).toEqual(tokeniser.encode('日本語'))
    expect(tokeniser.encode('🎉🎉🎉').filter((token) => token === 0)).toHaveLength(1)
    expect(tokeniser.encode('a🎉b🎉c').filter((token) => token === 0)).toHaveLength(2)
  })

  test('never takes text for a control piece', () => {
    expect(tokeniser.encode('<s> extra_token_id_1 </s>').every((token) => token === 0 || token > 5)).toBe(true)
    expect(tokeniser.encode('<s>').length).toBeGreaterThan(1)
  })

  test('gives nothing for nothing', () => {
    for (const text of ['', ' ', '\n\t ']) expect(tokeniser.encode(text)).toEqual([])
  })
})

describe('embeddings', () => {
  // The example of the network's authors: three pairs, each of one meaning.
  const sentences = [
    'I like my phone',
    'Your cellphone looks great.',
    'How old are you?',
    'What is your age?',
    'An apple a day, keeps the doctors away.',
    'Eating strawberries is healthy.',
  ]
  const embed = async (texts: readonly string[]): Promise<number[][]> => {
    const [answer] = await runRepository(repositoryFolder, 'sentence-embedding', 1, [{ text: texts }])
    if (answer!.code !== 'OK') throw new Error(answer!.message)
    return answer!.outputs['embedding'] as number[][]
  }

  test('are vectors of length 1, nearest to the sentence that means the same', async () => {
    const vectors = await embed(sentences)
    vectors.forEach((vector, i) => {
      expect(vector).toHaveLength(512)
      expect(dot(vector, vector)).toBeCloseTo(1, 5)
      const partner = i % 2 === 0 ? i + 1 : i - 1
      const nearest = vectors
        .map((other, j) => ({ j, near: j === i ? -1 : dot(vector, other) }))
        .reduce((best, other) => (other.near > best.near ? other : best))
      expect(nearest.j).toBe(partner)
    })
  })

  test('are what the package itself computes', async () => {
    // Its own copy of TFJS, its own loader and no signature: nothing in common but the weights and the tokens.
    const core = (await import('@energetic-ai/core')) as unknown as EnergeticCore
    const { modelSource } = (await import(sentenceModelPackage)) as unknown as EnergeticModel
    const { model } = await modelSource()
    const tokeniser = new Unigram(pieces)
    const tokens = sentences.map((text) => tokeniser.encode(text))
    const indices = tokens.flatMap((row, i) => row.map((_, position) => [i, position]))
    const theirs = await model.executeAsync({
      indices: core.tensor2d(indices, [indices.length, 2], 'int32'),
      values: core.tensor1d(tokens.flat(), 'int32'),
    })
    const expected = theirs.dataSync()
    const ours = (await embed(sentences)).flat()
    expect(expected).toHaveLength(ours.length)
    ours.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-5))
  })

  test('an empty text or a long one refuses its request and no other', async () => {
    const requests = [['fine', ''], ['fine'], ['word '.repeat(128)], ['word '.repeat(129)]].map((text) => ({ text }))
    const answers = await runRepository(repositoryFolder, 'sentence-embedding', 1, requests)
    expect(answers.map(({ code }) => code)).toEqual(['INVALID_ARGUMENT', 'OK', 'OK', 'INVALID_ARGUMENT'])
    expect(answers[3]!.message).toContain('129 tokens')
  })
})

/** What the test uses of the package's own run time. */
interface EnergeticCore {
  tensor1d(values: number[], dtype: 'int32'): unknown
  tensor2d(values: number[][], shape: [number, number], dtype: 'int32'): unknown
}
interface EnergeticModel {
  modelSource(): Promise<{
    model: { executeAsync(inputs: Record<string, unknown>): Promise<{ dataSync(): Float32Array }> }
  }>
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0)
}
