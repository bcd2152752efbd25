import { field, steps, Vocabulary, type Strings } from '@millrace/workflow'

/** What training found in the catalogue and the network was fitted to; made by `train.ts`. */
export interface Fitted {
  readonly vocabularies: Readonly<Record<TextField, readonly string[]>>
  /** Of what is known, after the logarithm where there is one. */
  readonly mean: readonly number[]
  readonly deviation: readonly number[]
}

/** The fields of table `titles` that the network sees. Text is one of a few words; the empty one is unknown. */
export const textFields = ['genre', 'creative_type', 'source', 'mpaa'] as const
export type TextField = (typeof textFields)[number]
/** NaN is unknown. */
export const numberFields = ['year', 'runtime_min', 'budget', 'worldwide_gross', 'tomatoes', 'imdb_votes'] as const
export type NumberField = (typeof numberFields)[number]
/** Fields over many orders of magnitude. */
const logarithmic: readonly NumberField[] = ['budget', 'worldwide_gross', 'imdb_votes']
/** Fields that so many titles lack that lacking them says something. */
const flagged: readonly NumberField[] = ['runtime_min', 'tomatoes']

/** The fields as a workflow declares them. */
export const titleFields = {
  genre: field('string'),
  creative_type: field('string'),
  source: field('string'),
  mpaa: field('string'),
  year: field('f32'),
  runtime_min: field('f32'),
  budget: field('f32'),
  worldwide_gross: field('f32'),
  tomatoes: field('f32'),
  imdb_votes: field('f32'),
}

/** One value for each title. */
export type TitleColumns = Readonly<Record<TextField, Strings> & Record<NumberField, Float32Array>>

/** Titles to the network's input: one-hots, then numbers, then what is missing. Serving and training both run this. */
export class TitleFeatures {
  /** Floats of one title. */
  readonly width: number
  readonly genres: Vocabulary
  private readonly vocabularies: Readonly<Record<TextField, Vocabulary>>

  constructor(private readonly fitted: Fitted) {
    const of = (name: TextField): Vocabulary => new Vocabulary(fitted.vocabularies[name])
    this.vocabularies = {
      genre: of('genre'),
      creative_type: of('creative_type'),
      source: of('source'),
      mpaa: of('mpaa'),
    }
    this.genres = this.vocabularies.genre
    const words = textFields.reduce((sum, name) => sum + this.vocabularies[name].size, 0)
    this.width = words + numberFields.length + flagged.length
  }

  /** Fills `into`, `[titles, width]`, and `genres` with each title's, -1 where it is unknown. */
  fill(titles: TitleColumns, into: Float32Array, genres: Int32Array): void {
    const { width } = this
    const rows = titles.genre.length
    steps.lookUp(titles.genre, this.genres, genres)
    let offset = 0
    for (const name of textFields) {
      const vocabulary = this.vocabularies[name]
      const words = name === 'genre' ? genres : new Int32Array(rows)
      if (name !== 'genre') steps.lookUp(titles[name], vocabulary, words)
      steps.oneHot(words, vocabulary.size, into, width, offset)
      offset += vocabulary.size
    }
    const scaled = new Float32Array(rows)
    numberFields.forEach((name, i) => {
      steps.normalise(magnitude(name, titles[name]), [this.fitted.mean[i]!], [this.fitted.deviation[i]!], scaled)
      // 0 is the mean now.
      steps.impute(scaled, 0, into, width, offset++)
    })
    for (const name of flagged) steps.missing(titles[name], into, width, offset++)
  }
}

/** A field on the scale on which it is normalised. */
export function magnitude(name: NumberField, values: Float32Array): Float32Array {
  if (!logarithmic.includes(name)) return values
  const out = new Float32Array(values.length)
  steps.log1p(values, out)
  return out
}
