import { laneOf } from './lanes'
import type { Plan } from './plan'
import type { Profile } from './profile'
import type { Routing } from './router'
import { simulate, type Incident } from './simulate'

/** What befell a fleet, and what its callers saw. */
export interface Scenario {
  readonly what: string
  readonly requests: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly refused: number
  /** Sent again, because their lane was gone. */
  readonly retried: number
  /** Requests of the busiest lane, over the mean. */
  readonly busiest: number
  readonly front: number
  readonly pool: number
}

/** Requests that a scenario follows at most, and its longest time. */
const requestsMax = 3_000_000
const measureUsMax = 3_000_000
/** Until those who send know that a machine is gone: a health check each 100 ms that fails three times. */
const detectUs = 300_000
/** Until a client that got no answer sends its request to another lane. */
const retryUs = 100_000
/** Parts of a deploy: so many of the machines are away at any time. */
const deployParts = 10

/**
 * Simulates the chosen fleet, every lane of every machine, under all of its traffic: as planned, sent unevenly, losing what
 * the head-room allows for, and during a deploy.
 */
export function simulateFleet({ question, chosen, requestsPerS }: Plan, profile: Profile): Scenario[] {
  if (chosen === null) return []
  const machine = question.machines.find(({ name }) => name === chosen.machine)!
  const model = laneOf(question, profile, machine, chosen.layout)
  const machines = chosen.machines!
  const perMachine = chosen.layout.lanes
  const lanes = machines * perMachine
  const rate = requestsPerS / 1e6
  const measureUs = Math.min(measureUsMax, requestsMax / rate)
  const warmUs = measureUs / 4
  const lanesOf = (wanted: (machine: number) => boolean): number[] =>
    Array.from({ length: lanes }, (_, lane) => lane).filter((lane) => wanted(Math.floor(lane / perMachine)))
  const crash = (lost: readonly number[]): Incident[] => {
    const atUs = warmUs + measureUs / 3
    return [
      ...lost.map((lane): Incident => ({ atUs, lane, what: 'crash' })),
      ...lost.map((lane): Incident => ({ atUs: atUs + Math.min(detectUs, measureUs / 6), lane, what: 'unroute' })),
    ]
  }
  const run = (what: string, routing: Routing, incidents: readonly Incident[] = []): Scenario => {
    const options = { model, lanes, load: { rate }, seed: question.seed, warmUs, measureUs, retryUs }
    const result = simulate({ ...options, routing, incidents })
    return {
      what,
      requests: result.latency.count,
      p50Ms: result.latency.quantile(0.5) / 1000,
      p99Ms: result.latency.quantile(0.99) / 1000,
      maxMs: result.latency.max / 1000,
      refused: result.refused,
      retried: result.retried,
      busiest: (Math.max(...result.perLane) * lanes) / result.answered,
      ...result.utilisation,
    }
  }
  const two: Routing = { kind: 'two' }
  const { zones, lose_zones, lose_one_machine_in } = question.headroom
  const scenarios = [
    run('sent to any lane', { kind: 'even' }),
    run('to the idler of two', two),
    run('a lane in ten gets half as much again', {
      kind: 'weighted',
      weights: Array.from({ length: lanes }, (_, lane) => (lane % 10 === 0 ? 1.5 : 1)),
    }),
  ]
  if (lose_zones > 0)
    scenarios.push(run(zonesLost(lose_zones), two, crash(lanesOf((place) => place % zones < lose_zones))))
  if (lose_one_machine_in !== undefined && machines > 1)
    scenarios.push(
      run(
        `one machine in ${lose_one_machine_in} lost`,
        two,
        crash(lanesOf((place) => place % lose_one_machine_in === 0)),
      ),
    )
  if (machines > 1) scenarios.push(run('a tenth away, then the next: a deploy', two, deploy()))
  return scenarios

  /** Each part drains while the one before it comes back. */
  function deploy(): Incident[] {
    const parts = Math.min(deployParts, machines)
    return Array.from({ length: parts }, (_, part) => part)
      .flatMap((part) =>
        lanesOf((place) => place % parts === part).flatMap((lane): Incident[] => [
          { atUs: warmUs + (part * measureUs) / parts, lane, what: 'drain' },
          { atUs: warmUs + ((part + 1) * measureUs) / parts, lane, what: 'return' },
        ]),
      )
      .sort((a, b) => a.atUs - b.atUs)
  }
}

function zonesLost(count: number): string {
  return count === 1 ? 'a zone lost' : `${count} zones lost`
}
