import type { FactRecord, FactStore, FactTable } from '@millrace/facts'
import type { Film } from './films'
import type { Profile } from './profiles'

/** What is known of a film before anybody asks. Its rating is not in here: that is what the model predicts. */
export const titlesTable: FactTable = {
  name: 'titles',
  key: 'string',
  fields: [
    ...['name', 'genre', 'creative_type', 'source', 'mpaa'].map((name) => ({
      name,
      dtype: 'string' as const,
      shape: [],
    })),
    ...['year', 'runtime_min', 'budget', 'worldwide_gross', 'tomatoes', 'imdb_votes'].map((name) => ({
      name,
      dtype: 'f32' as const,
      shape: [],
    })),
  ],
}

export function titleRecord(film: Film): FactRecord {
  return {
    name: film.name,
    genre: film.genre,
    creative_type: film.creativeType,
    source: film.source,
    mpaa: film.mpaa,
    year: film.year,
    runtime_min: film.runtimeMin,
    budget: film.budget,
    worldwide_gross: film.worldwideGross,
    tomatoes: film.tomatoes,
    imdb_votes: film.imdbVotes,
  }
}

export function profilesTable(genres: readonly string[]): FactTable {
  return { name: 'profiles', key: 'string', fields: [{ name: 'affinities', dtype: 'f32', shape: [genres.length] }] }
}

/** Writes both tables; what was in them under the same keys is replaced. */
export async function writeFacts(
  store: FactStore,
  films: readonly Film[],
  genres: readonly string[],
  profiles: readonly Profile[],
): Promise<void> {
  await store.declare(titlesTable)
  await store.write(
    titlesTable.name,
    films.map((film) => [film.id, titleRecord(film)] as const),
  )
  const table = profilesTable(genres)
  await store.declare(table)
  await store.write(
    table.name,
    profiles.map(({ id, affinities }) => [id, { affinities }] as const),
  )
}
