import { figure, median, table } from '../report'
import { measure, scenarios, startProcess, type Measured, type Scenario } from './measure'

export interface RoadResult {
  readonly scenario: Scenario
  readonly road: readonly Measured[]
  readonly echo: readonly Measured[]
  /** Server CPU a request, over the echo's: the median of the rounds' own ratios. */
  readonly ratio: number
}

export interface RoadOptions {
  readonly rounds: number
  readonly warmMs: number
  readonly measureMs: number
  readonly only?: string | undefined
  readonly onProgress: (line: string) => void
}

/** Millrace and the bare echo, in turns, under the same load; each load from a process of its own. */
export async function benchRoad(options: RoadOptions): Promise<RoadResult[]> {
  const servers = { road: await startProcess('server-process.js'), echo: await startProcess('echo-process.js') }
  try {
    const results: RoadResult[] = []
    for (const scenario of scenarios.filter(({ name }) => options.only === undefined || name.includes(options.only))) {
      const rounds: { road: Measured; echo: Measured }[] = []
      for (let round = 0; round < options.rounds; round++) {
        const echo = await measure(servers.echo, scenario, options, true)
        const road = await measure(servers.road, scenario, options, false)
        rounds.push({ road, echo })
        options.onProgress(
          `${scenario.name}, round ${round + 1}: ${figure(road.cpuUs)} us a request against ${figure(echo.cpuUs)}, ` +
            `${figure(road.perSecond)}/s, batches of ${figure(road.batchRows)}`,
        )
      }
      results.push({
        scenario,
        road: rounds.map(({ road }) => road),
        echo: rounds.map(({ echo }) => echo),
        ratio: median(rounds.map(({ road, echo }) => road.cpuUs / echo.cpuUs)),
      })
    }
    return results
  } finally {
    await Promise.all([servers.road.stop(), servers.echo.stop()])
  }
}

export function roadTable(results: readonly RoadResult[]): string {
  const mid = (runs: readonly Measured[], of: (one: Measured) => number): number => median(runs.map(of))
  return table([
    ['load', 'requests/s', 'server CPU us', 'echo us', 'ratio', 'p50 us', 'p99 us', 'batch rows', 'errors'],
    ...results.map(({ scenario, road, echo, ratio }) => [
      scenario.name,
      mid(road, (one) => one.perSecond),
      mid(road, (one) => one.cpuUs),
      mid(echo, (one) => one.cpuUs),
      ratio,
      mid(road, (one) => one.latencyUs.p50),
      mid(road, (one) => one.latencyUs.p99),
      mid(road, (one) => one.batchRows),
      road.reduce((sum, one) => sum + one.errors, 0),
    ]),
  ])
}
