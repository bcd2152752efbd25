import { performance } from 'node:perf_hooks'
import { Story, Tally } from './story'

/** A simulation: everything in it follows from the seed. Throws where something does not hold that must. */
export type Simulation = (seed: number, tally: Tally, story: Story | null) => void | Promise<void>

/** A seed in which something did not hold. */
export interface Failure {
  readonly seed: number
  readonly error: Error
  /** What happened, up to it. */
  readonly story: Story
}

export interface Seeds {
  readonly from: number
  /** Infinity: until one fails. */
  readonly count: number
  /** Told each second how many seeds have passed. */
  readonly progress?: (passed: number, seconds: number) => void
}

/** Runs seeds until one fails; that one runs again, to be told. Null when none fails. */
export async function runSeeds(
  simulation: Simulation,
  tally: Tally,
  { from, count, progress }: Seeds,
): Promise<Failure | null> {
  const begun = performance.now()
  let said = begun
  for (let i = 0; i < count; i++) {
    if ((await errorOf(simulation, from + i, tally)) !== null) return tellSeed(simulation, from + i)
    const now = performance.now()
    if (progress === undefined || now - said < 1000) continue
    said = now
    progress(i + 1, (now - begun) / 1000)
  }
  return null
}

/** One seed with its story; null when everything holds. */
export async function tellSeed(simulation: Simulation, seed: number): Promise<Failure | null> {
  const story = new Story()
  const error = await errorOf(simulation, seed, new Tally(), story)
  return error === null ? null : { seed, error, story }
}

async function errorOf(
  simulation: Simulation,
  seed: number,
  tally: Tally,
  story: Story | null = null,
): Promise<Error | null> {
  try {
    await simulation(seed, tally, story)
    return null
  } catch (error) {
    return error as Error
  }
}
