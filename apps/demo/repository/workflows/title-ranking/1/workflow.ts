import { Code, column, defineWorkflow, fact, field, steps, tfjs } from '@millrace/workflow'
import { TitleFeatures, titleFields } from './features'
import fitted from './features.json'

/** Titles of one request at most. */
const titlesMax = 500
/** Rating points that a genre of affinity 1 is worth. Chosen, not learned: the data knows no viewers. */
const affinityWeight = 1.5

const features = new TitleFeatures(fitted)

/**
 * Ranks titles for an account: the rating that a network expects the title to have, moved by how much the account
 * cares for its genre. An account without a profile is indifferent to all genres; a title that is not in the
 * catalogue refuses the request.
 */
export default defineWorkflow({
  inputs: { account: column('string', { per: 'request' }), title: column('string') },
  outputs: {
    /** In rating points: 1 to 10, and up to 1.5 more or less. */
    score: column('f32'),
    /** 1 is the best of the request; of equal scores, the one that was named first. */
    rank: column('u32'),
  },
  facts: {
    profile: fact('profiles', {
      by: 'account',
      fields: { affinities: field('f32', { shape: [features.genres.size] }) },
      missing: { affinities: new Array<number>(features.genres.size).fill(0) },
    }),
    film: fact('titles', {
      by: 'title',
      fields: titleFields,
      missing: 'refuse',
      // Of a title alone: made when it is read, not for each request that ranks it.
      derive: {
        columns: { features: field('f32', { shape: [features.width] }), genre_index: field('i32') },
        fill: (film, into) => features.fill(film, into.features, into.genre_index),
      },
    }),
  },
  // The road never splits a request that fits into a batch, so a part that is larger than `titlesMax` shows one that did not.
  // Twenty requests of 200 titles: what a batch costs besides its rows, waking two threads above all, is a twentieth for each.
  batch: { rowsMax: 4096 },
  model: tfjs('model/model.json', { inputs: { features: 'f32' }, outputs: { rating: 'f32' } }),

  preprocess({ rows, facts }, into) {
    into.features([rows, features.width], facts.film.features)
  },

  postprocess(batch, from) {
    const { rows, requestOf, facts, outputs } = batch
    const { score } = outputs
    const ratings = from.rating.data
    steps.affinity(facts.profile.affinities, features.genres.size, requestOf, facts.film.genre_index, score)
    for (let row = 0; row < rows; row++) score[row] = ratings[row]! + affinityWeight * score[row]!
    steps.rank(score, requestOf, outputs.rank)
    for (let row = titlesMax; row < rows; row++)
      if (requestOf[row] === requestOf[row - titlesMax])
        batch.refuse(requestOf[row]!, Code.INVALID_ARGUMENT, `a ranking is of ${titlesMax} titles at most: send fewer`)
  },
})
