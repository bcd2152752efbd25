import { join } from 'node:path'
import { measure, type Run } from '@millrace/load'
import { profilePlot, profileRoad, profileTable, type Profiled } from '../profile/profile'
import { figure, marked, median, spread, table } from '../report'
import { startEcho, startMillrace } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import { mlp } from '../workloads/mlp'
import { engineAlone } from './engine-alone'
import { loadOf, scenarios, type Scenario } from './scenarios'

export interface RoadResult {
  readonly scenario: Scenario
  readonly road: readonly Run[]
  readonly echo: readonly Run[]
  /** Server CPU a request, over the echo's: of the rounds, each its own ratio. */
  readonly ratios: readonly number[]
}

export const road: Suite = {
  name: 'road',
  about: 'closed loops end to end, against a bare uWebSockets.js echo of the same frames',
  usual: true,
  run: async (options) => {
    const loads = await benchRoad(options)
    const engineAloneUs = await engineAlone(options.smoke ? 100 : 10_000)
    const idle = loads.find(({ scenario }) => scenario.sockets * scenario.inFlight === 1)
    const p50 = idle === undefined ? NaN : median(idle.road.map(({ latencyUs }) => latencyUs.p50))
    const note =
      idle === undefined
        ? ''
        : `\n\none HTTP request on an idle server: p50 ${figure(p50)} us, of which the engine alone ${figure(engineAloneUs)} us`
    const failed = loads
      .flatMap(({ road }) => road)
      .filter(({ errors, refused, good }) => errors + refused > 0 || good === 0)
    if (failed.length > 0) throw new Error(`${failed.length} runs had errors or no replies`)
    const mid = (runs: readonly Run[]): number => median(runs.map(({ cpuUs }) => cpuUs))
    const plot = {
      title: 'Server CPU a request',
      y: { label: 'us' },
      groups: loads.map(({ scenario }) => scenario.name),
      bars: [
        { name: 'Millrace', values: loads.map(({ road }) => mid(road)) },
        { name: 'bare echo', values: loads.map(({ echo }) => mid(echo)) },
      ],
    }
    const profiles = await profileScenarios(options)
    return {
      text: [roadTable(loads) + note, ...profiles.map(({ text }) => text)].join('\n\n'),
      results: { engineAloneUs, loads, profiles: profiles.map(({ profiled }) => profiled) },
      plots: [
        { name: 'cpu', plot },
        ...profiles.map(({ profiled }, i) => ({ name: `steps-${i + 1}`, plot: profilePlot(profiled) })),
      ],
    }
  },
}

/** What takes the time, where that is asked: apart from the runs that are compared, since it costs. */
function profileScenarios(options: Options): Promise<{ profiled: Profiled; text: string }[]> {
  const { profiles } = options
  if (profiles === undefined) return Promise.resolve([])
  return inFolder(async (folder) => {
    const prepared = await mlp.prepare(folder)
    const all: { profiled: Profiled; text: string }[] = []
    for (const scenario of chosen(options)) {
      const own = join(profiles, scenario.name.toLowerCase().replaceAll(/\W+/g, '-'))
      options.say(`${scenario.name}: profiled`)
      const profiled = await profileRoad(scenario, prepared, own, options)
      all.push({ profiled, text: profileTable(profiled, own) })
    }
    return all
  })
}

function chosen({ only = '' }: Options): Scenario[] {
  return scenarios.filter(({ name }) => name.includes(only))
}

/** Millrace and the bare echo, in turns, under the same load; each load from processes of its own. */
function benchRoad(options: Options): Promise<RoadResult[]> {
  return inFolder(async (folder) => {
    const { env, traffic } = await mlp.prepare(folder)
    const servers = { road: await startMillrace(env), echo: await startEcho() }
    try {
      const results: RoadResult[] = []
      for (const scenario of chosen(options)) {
        const [roads, echoes]: [Run[], Run[]] = [[], []]
        for (let round = 0; round < roundsOf(options); round++) {
          const echo = await measure(servers.echo, loadOf(scenario, traffic, true), timingOf(options))
          const road = await measure(servers.road, loadOf(scenario, traffic), timingOf(options))
          echoes.push(echo)
          roads.push(road)
          options.say(
            `${scenario.name}, round ${round + 1}: ${figure(road.cpuUs)} us a request against ${figure(echo.cpuUs)}, ` +
              `${figure(road.perSecond)}/s, batches of ${figure(road.batchRows)}`,
          )
        }
        const ratios = roads.map(({ cpuUs }, i) => cpuUs / echoes[i]!.cpuUs)
        results.push({ scenario, road: roads, echo: echoes, ratios })
      }
      return results
    } finally {
      await Promise.all([servers.road.stop(), servers.echo.stop()])
    }
  })
}

function roadTable(results: readonly RoadResult[]): string {
  const mid = (runs: readonly Run[], of: (one: Run) => number): number => median(runs.map(of))
  return table([
    [
      'load',
      'requests/s',
      'server CPU us',
      'echo us',
      'ratio',
      'spread',
      'p50 us',
      'p99 us',
      'batch rows',
      'generator',
    ],
    ...results.map(({ scenario, road, echo, ratios }) => [
      scenario.name,
      mid(road, (one) => one.perSecond),
      mid(road, (one) => one.cpuUs),
      mid(echo, (one) => one.cpuUs),
      median(ratios),
      spread(ratios),
      mid(road, (one) => one.latencyUs.p50),
      mid(road, (one) => one.latencyUs.p99),
      mid(road, (one) => one.batchRows),
      marked(road),
    ]),
  ])
}
