import { runRepository } from '@millrace/workflow'
import { readFilms } from './films'
import { isHeldOut } from './held-out'
import { repositoryFolder } from './repository-folder'

/** How wrong committed weights are on films that they have not seen, in rating points (root of the mean square). */
export interface TitleError {
  readonly films: number
  readonly ofModel: number
  /** Of the answer that is the same for all: the mean rating of the films trained on. */
  readonly ofMean: number
}

/** Through the workflow, as a client would ask: an account without a profile gets the network's rating as the score. */
export async function titleError(): Promise<TitleError> {
  const rated = readFilms().filter((film) => !Number.isNaN(film.imdbRating))
  const trained = rated.filter((film) => !isHeldOut(film.id))
  const heldOut = rated.filter((film) => isHeldOut(film.id))
  const requests = chunks(heldOut, 400).map((films) => ({ account: 'nobody', title: films.map((film) => film.id) }))
  const answers = await Promise.all([runRepository(repositoryFolder, 'title-ranking', 1, requests)])
  const scores = answers.flat().flatMap((answer) => {
    if (answer.code !== 'OK') throw new Error(answer.message)
    return answer.outputs['score'] as number[]
  })
  const mean = trained.reduce((sum, film) => sum + film.imdbRating, 0) / trained.length
  return {
    films: heldOut.length,
    ofModel: rootMeanSquare(heldOut.map((film, i) => scores[i]! - film.imdbRating)),
    ofMean: rootMeanSquare(heldOut.map((film) => mean - film.imdbRating)),
  }
}

function rootMeanSquare(differences: readonly number[]): number {
  return Math.sqrt(differences.reduce((sum, difference) => sum + difference ** 2, 0) / differences.length)
}

function chunks<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => values.slice(i * size, (i + 1) * size))
}
