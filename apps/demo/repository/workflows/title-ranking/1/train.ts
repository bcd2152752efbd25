import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryStore } from '@millrace/facts'
import { Strings } from '@millrace/workflow'
import { fitNetwork, isHeldOut, readFilms, titleRecord, titlesTable, valuesOf, type Film } from '@millrace/demo'
import { magnitude, numberFields, titleFields, TitleFeatures, type Fitted, type TitleColumns } from './features'

/*
 * Fits the network to the IMDB ratings of the films that have one and are not held out. Writes `features.json` and
 * `model/`. `npm run train-title-ranking -w @millrace/demo`
 */

const seed = 1

async function train(): Promise<void> {
  const films = readFilms()
  const rated = films.filter((film) => !Number.isNaN(film.imdbRating) && !isHeldOut(film.id))
  const titles = await columnsOf(rated)
  const statistics = numberFields.map((name) => meanAndDeviation(magnitude(name, titles[name])))
  const fitted: Fitted = {
    vocabularies: {
      genre: valuesOf(films, 'genre'),
      creative_type: valuesOf(films, 'creativeType'),
      source: valuesOf(films, 'source'),
      mpaa: valuesOf(films, 'mpaa'),
    },
    mean: statistics.map(({ mean }) => mean),
    deviation: statistics.map(({ deviation }) => deviation),
  }
  const features = new TitleFeatures(fitted)
  const x = new Float32Array(rated.length * features.width)
  features.fill(titles, x, new Int32Array(titles.genre.length))
  const network = await fitNetwork(
    x,
    Float32Array.from(rated, (film) => film.imdbRating),
    {
      input: 'features',
      output: 'rating',
      layers: [
        { units: 32, activation: 'relu' },
        { units: 16, activation: 'relu' },
        { units: 1, activation: 'linear' },
      ],
      loss: 'meanSquaredError',
      epochs: 40,
      batchRows: 32,
      learningRate: 0.003,
      decay: 0.01,
      seed,
    },
  )
  writeFileSync(join(__dirname, 'features.json'), `${JSON.stringify(fitted, null, 2)}\n`)
  mkdirSync(join(__dirname, 'model'), { recursive: true })
  writeFileSync(join(__dirname, 'model', 'model.json'), `${network.modelJson}\n`)
  writeFileSync(join(__dirname, 'model', 'weights.bin'), network.weights)
  console.log(`title-ranking@1: fitted to ${rated.length} films, ${features.width} features, seed ${seed}`)
}

/** The films as the workflow gets them: written to a store and read back. */
async function columnsOf(films: readonly Film[]): Promise<TitleColumns> {
  const store = new MemoryStore()
  await store.declare(titlesTable)
  await store.write(
    titlesTable.name,
    films.map((film) => [film.id, titleRecord(film)] as const),
  )
  const rows = await store.read(titlesTable.name, Strings.of(films.map((film) => film.id)))
  const columns = Object.keys(titleFields).map((name) => [name, rows.column(name)])
  return Object.fromEntries(columns) as TitleColumns
}

function meanAndDeviation(values: Float32Array): { readonly mean: number; readonly deviation: number } {
  const known = values.filter((value) => !Number.isNaN(value))
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length
  const variance = known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / known.length
  return { mean, deviation: Math.sqrt(variance) }
}

void train()
