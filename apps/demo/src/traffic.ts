import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '@millrace/base'
import { Client, ScoreError, type InputValue, type ScoreRequest } from '@millrace/client'
import { readFilms } from './films'

export interface TrafficOptions {
  /** Of the data port. */
  readonly url: string
  readonly seconds: number
  readonly perSecond: number
  readonly seed: number
}

/** Requests that one rule decided, by the version and the cell that it gave them. */
export interface Answered {
  readonly objective: string
  /** `name@version`. */
  readonly workflow: string
  readonly rule: string
  readonly cell: string | null
  readonly requests: number
}

export interface TrafficReport {
  readonly answered: readonly Answered[]
  /** Requests that were refused or not answered, by code. */
  readonly failed: Readonly<Record<string, number>>
}

/** Accounts that ask; a sixth of them have no profile. */
const accounts = 1200
/** Requests without an answer at most: beyond it the sender waits for the server. */
const inFlightMax = 256
const tickMs = 20
const titlesOfRequest = 10

/**
 * Asks a server of the demo what its users would: four flights to each ranking, at an even pace. The requests say that they
 * are `synthetic`, so that nobody trains on them. Rejects with a ScoreError where no server answers at all.
 */
export async function sendTraffic({ url, seconds, perSecond, seed }: TrafficOptions): Promise<TrafficReport> {
  const random = seededRandom(seed)
  const films = readFilms().map(({ id }) => id)
  const answered = new Map<string, Answered>()
  const failed: Record<string, number> = {}
  const client = new Client({ url })
  const ask = async (request: ScoreRequest): Promise<void> => {
    try {
      const { route } = await client.score(request)
      const { rule, cell } = route
      const one = { objective: request.objective, workflow: `${route.workflow}@${route.version}`, rule, cell }
      const key = JSON.stringify(one)
      answered.set(key, { ...one, requests: (answered.get(key)?.requests ?? 0) + 1 })
    } catch (error) {
      if (!(error instanceof ScoreError)) throw error
      failed[error.code] = (failed[error.code] ?? 0) + 1
    }
  }
  try {
    await client.resolve({ objective: 'flight-delay' })
    const inFlight = new Set<Promise<void>>()
    const began = performance.now()
    for (let sent = 0; sent < seconds * perSecond; await sleep(tickMs)) {
      const due = Math.min(seconds, (performance.now() - began) / 1000) * perSecond
      for (; sent < due && inFlight.size < inFlightMax; sent++) {
        const one = ask(sent % 5 < 4 ? flight(random) : rankedFilms(random, films))
        inFlight.add(one)
        void one.finally(() => inFlight.delete(one)).catch(() => undefined)
      }
      // A server that is slower than the pace is not waited for beyond the time.
      if (performance.now() - began > 1000 * seconds) break
    }
    await Promise.all(inFlight)
  } finally {
    await client.close()
  }
  return { answered: [...answered.values()].sort(byObjectiveAndVersion), failed }
}

function flight(random: () => number): ScoreRequest {
  const hour = Float32Array.from({ length: 1 + whole(random, 4) }, () => 24 * random())
  const distance = hour.map(() => 50 + whole(random, 2950))
  const inputs = { hour: column(hour), distance: column(distance) }
  return { ...someone(random), objective: 'flight-delay', inputs }
}

/** As the model has its inputs: one number a row, in a dimension of its own. */
function column(values: Float32Array): InputValue {
  return { dtype: 'f32', values, shape: [1] }
}

function rankedFilms(random: () => number, films: readonly string[]): ScoreRequest {
  const title = Array.from({ length: titlesOfRequest }, () => films[whole(random, films.length)]!)
  const { subject, context } = someone(random)
  return { subject, context, objective: 'title-ranking', inputs: { account: subject, title } }
}

function someone(random: () => number): { subject: string; context: { traffic: string } } {
  return { subject: `account-${whole(random, accounts)}`, context: { traffic: 'synthetic' } }
}

/** From 0, below `end`. */
function whole(random: () => number, end: number): number {
  return Math.floor(random() * end)
}

function byObjectiveAndVersion(a: Answered, b: Answered): number {
  return a.objective.localeCompare(b.objective) || a.workflow.localeCompare(b.workflow) || b.requests - a.requests
}
