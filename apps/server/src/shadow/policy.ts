/** Part of a lane's arena in use, by whomever, from which on shadows take no more of it. */
export const arenaShareMax = 0.5
/** Longest that a copy waits for a thread that nobody else wants, ms. */
export const waitMsMax = 5_000
/** Copies gather this long, ms: a thread that is woken once for many costs the primaries less. */
export const gatherMs = 10
/** Microseconds that a batch of copies may take: a primary that comes meanwhile may have to wait for it. */
export const runUsWanted = 250
/**
 * How long a pool has no copies after a batch of them, as a multiple of what that took, and at most, microseconds: a primary
 * seldom meets one. `npm run simulate -- shadows` shows what that leaves of the 99th percentile.
 */
export const restsFor = 12
export const restUsMax = 50_000
/** Rows of the first batch of a version. */
export const firstRows = 16
/** Microseconds of one turn of the event loop in which answers are compared. */
export const compareUsMax = 100
/** A version that ended a thread rests, ms; each time twice as long. */
export const pauseMs = { first: 60_000, most: 3_600_000 } as const

/** What a pool has to give at a moment. */
export interface PoolState {
  /** Threads that take batches and have none. */
  readonly idle: number
  /** Threads that run a batch of copies. */
  readonly copying: number
  /** Rows of primaries wait that the pool could run. */
  readonly wanted: boolean
}

/**
 * Whether a thread may be given a batch of copies: one of a pool at a time. It must be idle, and the last idle one only when no
 * primary waits.
 */
export function mayCopy({ idle, copying, wanted }: PoolState): boolean {
  if (idle === 0 || (wanted && idle === 1)) return false
  return copying === 0
}

/** Rows of the next batch of copies, after one that took `runUs`; from 1 to `most`. */
export function nextRows(rows: number, runUs: number, limit: number, most: number): number {
  const fitting = runUs > runUsWanted ? Math.floor((rows * runUsWanted) / runUs) : rows < limit / 2 ? limit : limit * 2
  return Math.min(most, Math.max(1, fitting))
}
