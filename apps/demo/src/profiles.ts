import { seededRandom } from '@millrace/base'

/** An invented account: how much it cares for each genre, -1 to 1, in the order of the genres. */
export interface Profile {
  /** `account-0` .. */
  readonly id: string
  readonly affinities: Float32Array
}

/**
 * Invented accounts: each likes three genres (above 0.5), dislikes one (below -0.5) and is near indifferent to the
 * others. The dataset knows no viewers, so there is nothing real to take them from.
 */
export function makeProfiles(genres: readonly string[], count: number, seed: number): Profile[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, (_, i) => {
    const affinities = Float32Array.from(genres, () => 0.4 * (random() - 0.5))
    const order = genres.map((_, g) => ({ g, at: random() })).sort((a, b) => a.at - b.at)
    for (const { g } of order.slice(0, 3)) affinities[g] = 0.5 + 0.5 * random()
    affinities[order[3]!.g] = -0.5 - 0.5 * random()
    return { id: `account-${i}`, affinities }
  })
}
