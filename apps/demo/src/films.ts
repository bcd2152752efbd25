import { readDataset } from './dataset'

/** A film of `movies.json`, with what the file leaves out as NaN or an empty string. */
export interface Film {
  /** The title in lower case with dashes, then its year: `the-land-girls-1998`. The key of table `titles`; no two films share one. */
  readonly id: string
  readonly name: string
  readonly genre: string
  readonly creativeType: string
  readonly source: string
  readonly mpaa: string
  readonly year: number
  readonly runtimeMin: number
  /** US dollars, as is `worldwideGross`. */
  readonly budget: number
  readonly worldwideGross: number
  /** Rotten Tomatoes, 0 to 100. */
  readonly tomatoes: number
  /** How many users of IMDB rated it, and how on average, 1 to 10. */
  readonly imdbVotes: number
  readonly imdbRating: number
}

type Row = Readonly<Record<string, string | number | null>>

/** The catalogue was made in 2010: a later year stands for one that was written with two digits. */
const yearMax = 2012

/** All films, in the order of the file. */
export function readFilms(): Film[] {
  return (readDataset('movies.json') as Row[]).map((row) => {
    const year = yearOf(String(row['Release Date']))
    // Titles such as 1776 are numbers in the file.
    const name = row['Title'] === null ? 'Untitled' : String(row['Title'])
    return {
      id: `${slugOf(name)}-${year}`,
      name,
      genre: textOf(row['Major Genre']),
      creativeType: textOf(row['Creative Type']),
      source: textOf(row['Source']),
      mpaa: textOf(row['MPAA Rating']),
      year,
      runtimeMin: numberOf(row['Running Time min']),
      budget: numberOf(row['Production Budget']),
      worldwideGross: numberOf(row['Worldwide Gross']),
      tomatoes: numberOf(row['Rotten Tomatoes Rating']),
      imdbVotes: numberOf(row['IMDB Votes']),
      imdbRating: numberOf(row['IMDB Rating']),
    }
  })
}

/** Every value of a text field that there is, sorted; what is unknown is none of them. */
export function valuesOf(films: readonly Film[], field: 'genre' | 'creativeType' | 'source' | 'mpaa'): string[] {
  return [...new Set(films.map((film) => film[field]))].filter((value) => value !== '').sort()
}

function yearOf(date: string): number {
  const year = Number(date.slice(-4))
  return year > yearMax ? year - 100 : year
}

function slugOf(name: string): string {
  const ascii = name.normalize('NFKD').replace(/[\u0300-\u036f'’]/g, '')
  return ascii
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
}

function textOf(value: Row[string] | undefined): string {
  return typeof value === 'string' ? value : ''
}

function numberOf(value: Row[string] | undefined): number {
  return typeof value === 'number' ? value : NaN
}
