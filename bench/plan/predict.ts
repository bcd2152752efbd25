import { cpus } from 'node:os'
import type { Apart } from '@millrace/load'
import { checkQuestion, laneOf, simulate, type LaneModel, type Neighbours, type Profile } from '@millrace/plan'
import type { Setup } from './setups'

/** Of a lane under one load, measured or predicted. */
export interface Behaviour {
  readonly perSecond: number
  readonly p99Us: number
}

/** Requests that a prediction is made of. */
const requests = 100_000
const seed = 1

/**
 * What the planner's model of a lane does in this setup. It knows what `millrace plan measure` measured, and the CPUs that
 * the server has: where it shares them with the load, as nowhere else, also what a request costs that.
 *
 * @param perSecond of an open loop; null: a closed one
 * @param loadUs CPU of the load for a request
 */
export function predict(
  setup: Setup,
  profile: Profile,
  apart: Apart | null,
  loadUs: number,
  perSecond: number | null,
): Behaviour {
  const cores = apart === null ? cpus().length : apart.server.length
  // A thread that waits for a device is on no CPU meanwhile.
  const model = modelOf(setup, profile, setup.waits ? cores + setup.threads : cores)
  const shared: Neighbours = { load: { requestUs: loadUs, spins: false }, others: [], othersEveryUs: 1000 }
  const neighbours = apart === null ? { neighbours: shared } : {}
  const inFlight = setup.sockets * setup.inFlight
  const load = perSecond === null ? { inFlight } : { rate: perSecond / 1e6 }
  const run = (measureUs: number): ReturnType<typeof simulate> =>
    simulate({ model, load, seed, warmUs: measureUs / 4, measureUs, ...neighbours })
  // A first look says how long as many requests take.
  const rate = 'rate' in load ? load.rate : run(200_000).throughput
  const { throughput, latency } = run(Math.max(requests, 20 * inFlight) / rate)
  return { perSecond: throughput * 1e6, p99Us: latency.quantile(0.99) }
}

function modelOf({ mix, transport, sockets, batchRows, threads }: Setup, measured: Profile, cores: number): LaneModel {
  const objectives = Object.fromEntries(
    Object.entries(measured.objectives).map(([name, one]) => [
      name,
      { ...one, batch_rows_max: Math.min(one.batch_rows_max, batchRows ?? Infinity) },
    ]),
  )
  const question = checkQuestion(
    {
      requests_per_s: 1,
      latency: { p99_ms: 1 },
      mix: mix.map((part) => ({ ...part, transport })),
      machines: [{ name: 'this', cores, price_per_hour: 1 }],
      connections: sockets,
    },
    'the setup',
  )
  const layout = { lanes: 1, threads, engineThreads: 1, gpu: false }
  return laneOf(question, { ...measured, objectives }, question.machines[0]!, layout)
}
