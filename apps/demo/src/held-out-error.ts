import { runRepository } from '@millrace/workflow'
import { readFilms } from './films'
import { readFlights } from './flights'
import { isHeldOut } from './held-out'
import { repositoryFolder } from './repository-folder'

/** How wrong committed weights are on examples that they have not seen. */
export interface HeldOutError {
  readonly examples: number
  readonly ofModel: number
  /** Of the answer that is the same for all: the mean of what was trained on. */
  readonly ofMean: number
}

/**
 * In rating points, the root of the mean square. Through the workflow, as a client would ask: the score for an account
 * without a profile is the network's rating.
 */
export async function titleError(): Promise<HeldOutError> {
  const rated = readFilms().filter((film) => !Number.isNaN(film.imdbRating))
  const heldOut = rated.filter((film) => isHeldOut(film.id))
  const requests = chunks(heldOut, 400).map((films) => ({ account: 'nobody', title: films.map((film) => film.id) }))
  const scores = await outputOf('title-ranking', 1, requests, 'score')
  const mean = meanOf(rated.filter((film) => !isHeldOut(film.id)).map((film) => film.imdbRating))
  const error = (ratingOf: (i: number) => number): number =>
    Math.sqrt(meanOf(heldOut.map((film, i) => (ratingOf(i) - film.imdbRating) ** 2)))
  return { examples: heldOut.length, ofModel: error((i) => scores[i]!), ofMean: error(() => mean) }
}

/** In nats, the mean logarithmic loss. */
export async function flightError(version: number): Promise<HeldOutError> {
  const { hour, distance, late } = readFlights()
  const flights = [...late.keys()]
  const heldOut = flights.filter((i) => isHeldOut(`flight-${i}`))
  const request = { hour: heldOut.map((i) => hour[i]!), distance: heldOut.map((i) => distance[i]!) }
  const chances = await outputOf('flight-delay', version, [request], 'late')
  const mean = meanOf(flights.filter((i) => !isHeldOut(`flight-${i}`)).map((i) => late[i]!))
  const error = (chanceOf: (i: number) => number): number =>
    -meanOf(heldOut.map((flight, i) => Math.log(late[flight] === 1 ? chanceOf(i) : 1 - chanceOf(i))))
  return { examples: heldOut.length, ofModel: error((i) => chances[i]!), ofMean: error(() => mean) }
}

/** One output column of all requests, one number a row. */
async function outputOf(
  name: string,
  version: number,
  requests: readonly unknown[],
  output: string,
): Promise<number[]> {
  const answers = await runRepository(repositoryFolder, name, version, requests)
  return answers.flatMap((answer) => {
    if (answer.code !== 'OK') throw new Error(answer.message)
    return (answer.outputs[output] as (number | number[])[]).flat()
  })
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function chunks<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => values.slice(i * size, (i + 1) * size))
}
