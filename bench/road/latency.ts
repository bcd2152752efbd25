import { measure, type Run, type Transport } from '@millrace/load'
import { figure, marked, median, table } from '../report'
import { startMillrace } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Result, type Suite } from '../suite'
import { mlp } from '../workloads/mlp'

export interface LatencyResult {
  readonly transport: Transport
  /** Requests a second that were due. */
  readonly perSecond: number
  readonly runs: readonly Run[]
}

const ladders = [
  { transport: 'websocket', sockets: 16, inFlight: 1024, rates: [1000, 5000, 20_000, 50_000, 100_000] },
  { transport: 'http', sockets: 64, inFlight: 1, rates: [1000, 5000, 10_000, 20_000, 40_000] },
] as const

export const latency: Suite = {
  name: 'latency',
  about: 'open loops: requests arrive by a schedule, their times count from when they were due',
  usual: true,
  run: async (options) => {
    const results = await benchLatency(options)
    return { results, text: latencyTable(results), plots: latencyPlots(results) }
  },
}

/** Rounds are interleaved: each goes up the whole ladder. */
function benchLatency(options: Options): Promise<LatencyResult[]> {
  return inFolder(async (folder) => {
    const { env, traffic } = await mlp.prepare(folder)
    const server = await startMillrace(env)
    try {
      const steps = ladders
        .filter(({ transport }) => transport.includes(options.only ?? ''))
        .flatMap(({ rates, ...load }) => (options.smoke ? rates.slice(0, 1) : rates).map((rate) => ({ ...load, rate })))
      const runs = steps.map((): Run[] => [])
      for (let round = 0; round < roundsOf(options); round++)
        for (const [i, { rate, ...load }] of steps.entries()) {
          const arrivals = { kind: 'poisson', perSecond: rate } as const
          const run = await measure(server, { ...load, traffic, arrivals, seed: round + 1 }, timingOf(options))
          runs[i]!.push(run)
          const { p50, p99 } = run.latencyUs
          options.say(
            `${load.transport} at ${figure(rate)}/s, round ${round + 1}: p50 ${figure(p50)}, p99 ${figure(p99)} us`,
          )
        }
      return steps.map(({ transport, rate }, i) => ({ transport, perSecond: rate, runs: runs[i]! }))
    } finally {
      await server.stop()
    }
  })
}

function latencyTable(results: readonly LatencyResult[]): string {
  return table([
    [
      'open loop, Poisson',
      'due/s',
      'answered/s',
      'p50 us',
      'p99 us',
      'p99.9 us',
      'server CPU us',
      'refused',
      'errors',
      'generator',
    ],
    ...results.map(({ transport, perSecond, runs }) => {
      const mid = (of: (run: Run) => number): number => median(runs.map(of))
      return [
        transport,
        perSecond,
        mid((run) => run.perSecond),
        mid((run) => run.latencyUs.p50),
        mid((run) => run.latencyUs.p99),
        mid((run) => run.latencyUs.p999),
        mid((run) => run.cpuUs),
        runs.reduce((sum, run) => sum + run.refused, 0),
        runs.reduce((sum, run) => sum + run.errors, 0),
        marked(runs),
      ]
    }),
  ])
}

function latencyPlots(results: readonly LatencyResult[]): NonNullable<Result['plots']> {
  const transports = [...new Set(results.map(({ transport }) => transport))]
  const of = (transport: Transport): LatencyResult[] => results.filter((one) => one.transport === transport)
  const byRate = transports.flatMap((transport) =>
    (['p50', 'p99'] as const).map((percentile) => ({
      name: `${transport}, ${percentile}`,
      points: of(transport).map(
        ({ perSecond, runs }) => [perSecond, median(runs.map(({ latencyUs }) => latencyUs[percentile]))] as const,
      ),
    })),
  )
  const plots = transports.map((transport) => ({
    name: `percentiles-${transport}`,
    plot: {
      title: `${transport}: how long requests take, from when they were due`,
      x: { label: 'one request in so many takes longer', scale: 'log' },
      y: { label: 'us', scale: 'log' },
      lines: of(transport).map(({ perSecond, runs }) => ({
        name: `${figure(perSecond)}/s`,
        points: runs[0]!.percentiles.map(({ percentile, us }) => [100 / (100 - percentile), us] as const),
      })),
    } as const,
  }))
  const rates = {
    title: 'Latency by requests a second, open loop',
    x: { label: 'requests/s', scale: 'log' },
    y: { label: 'us', scale: 'log' },
    lines: byRate,
  } as const
  return [{ name: 'rates', plot: rates }, ...plots]
}
