import { measure, type Run } from '@millrace/load'
import { figure, median, table } from '../report'
import { loadOf, scenarios } from '../road/scenarios'
import { startMillrace, startProcess } from '../servers'
import { inFolder, timingOf, type Options, type Result } from '../suite'
import { mlp } from '../workloads/mlp'
import { buildBaseline } from './baseline'
import { ratioOf, type Ratio } from './statistics'

/** A cost that is higher than this, with the whole confidence interval, is a regression. */
const tolerance = 1.03

interface Compared {
  readonly load: string
  readonly current: readonly Run[]
  readonly baseline: readonly Run[]
  /** Of CPU a request and of the median latency, this build over the baseline. */
  readonly cpu: Ratio
  readonly p50: Ratio
}

/** This build and a commit's, in turns, in one run. */
export async function compare(commit: string, options: Options): Promise<Result & { readonly slower: boolean }> {
  const server = buildBaseline(commit, options.say)
  const loads = await inFolder(async (folder) => {
    const { env, traffic } = await mlp.prepare(folder)
    const servers = { current: await startMillrace(env), baseline: await startProcess(server, env) }
    try {
      const results: Compared[] = []
      for (const scenario of scenarios.filter(({ name }) => name.includes(options.only ?? ''))) {
        const [current, baseline]: [Run[], Run[]] = [[], []]
        const one = async (which: 'current' | 'baseline'): Promise<void> => {
          const run = await measure(servers[which], loadOf(scenario, traffic), timingOf(options))
          ;(which === 'current' ? current : baseline).push(run)
        }
        // A ratio of one round has no interval; of few it is wide, so that quick ones are no fewer.
        const rounds = options.smoke ? 2 : Math.max(2, options.rounds)
        for (let round = 0; round < rounds; round++) {
          // Who is first has the machine that the round before left.
          for (const which of round % 2 === 0 ? (['current', 'baseline'] as const) : (['baseline', 'current'] as const))
            await one(which)
          options.say(
            `${scenario.name}, round ${round + 1}: ${figure(current.at(-1)!.cpuUs)} us against ${figure(baseline.at(-1)!.cpuUs)}`,
          )
        }
        const paired = (of: (run: Run) => number): Ratio =>
          ratioOf(current.map((run, i) => [of(run), of(baseline[i]!)] as const))
        results.push({
          load: scenario.name,
          ...{ current, baseline },
          cpu: paired(({ cpuUs }) => cpuUs),
          p50: paired(({ latencyUs }) => latencyUs.p50),
        })
      }
      return results
    } finally {
      await Promise.all([servers.current.stop(), servers.baseline.stop()])
    }
  })
  const slower = loads.some(({ cpu }) => cpu.low > tolerance)
  const verdict = slower
    ? `slower than ${commit}: the interval of a cost is above ${tolerance}`
    : `not slower than ${commit}: no interval of a cost is above ${tolerance}`
  return { slower, results: { commit, loads }, text: `${compareTable(loads)}\n\n${verdict}` }
}

function compareTable(loads: readonly Compared[]): string {
  const shown = ({ ratio, low, high }: Ratio): string[] => [ratio.toFixed(3), `${low.toFixed(3)} to ${high.toFixed(3)}`]
  return table([
    ['load', 'CPU us', 'baseline us', 'ratio', '95 %', 'p50 ratio', '95 %'],
    ...loads.map(({ load, current, baseline, cpu, p50 }) => [
      load,
      median(current.map(({ cpuUs }) => cpuUs)),
      median(baseline.map(({ cpuUs }) => cpuUs)),
      ...shown(cpu),
      ...shown(p50),
    ]),
  ])
}
