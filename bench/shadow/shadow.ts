import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { measure, type Run } from '@millrace/load'
import type { RulesFile } from '@millrace/rules'
import type { ShadowReport } from '@millrace/server'
import { p99Ratio, p99Together } from '../p99-ratio'
import { makeRepository } from '../overload/repository'
import { figure, median, spread, table } from '../report'
import { startApart, startMillrace, type ServerProcess } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import { writeDevice, type Device } from '../workloads/device'
import { mlpRequest } from '../workloads/mlp'
import { writeTraffic } from '../workloads/workload'

interface Setup {
  readonly name: string
  readonly threads: number
  /** Server and load have CPUs of their own: where the server needs little of one. */
  readonly apart: boolean
  /** Makes a repository with version 1 of `mlp-64` in a folder; returns it. */
  readonly repository: (folder: string) => string
}

export interface ShadowResult {
  readonly name: string
  readonly threads: number
  /** Requests a second of a closed loop without the shadow; half of them were due. */
  readonly capacity: number
  /** By round: the rules without a shadow, and with one that copies everything. */
  readonly without: readonly Run[]
  readonly shadowed: readonly Run[]
  /** Copies while it had one: compared with what was answered, and dropped. */
  readonly compared: number
  readonly dropped: number
}

const setups: readonly Setup[] = [2, 1].flatMap((threads) => [
  { name: 'small network', threads, apart: false, repository: smallRepository },
  { name: 'dear network', threads, apart: false, repository: makeRepository },
  { name: 'device', threads, apart: true, repository: deviceOf({ batchMs: 0, rowMs: 0.125, rowsMax: 16 }) },
  // As a GPU is: a batch is dear, its rows are not.
  { name: 'slow device', threads, apart: true, repository: deviceOf({ batchMs: 2, rowMs: 0.05, rowsMax: 64 }) },
])

const objective = 'mlp-64'
const plain: RulesFile = { objectives: { [objective]: { default: 'mlp-64@1' } } }
/** The same network again, as another version: what a copy costs is what its request cost. */
const withShadow: RulesFile = {
  ...plain,
  shadows: [{ id: 'twin', objectives: [objective], workflow: 'mlp-64@2', percent: 100, tolerance: 1e-5 }],
}

export const shadow: Suite = {
  name: 'shadow',
  about: 'what requests notice of a shadow that copies all of them, at half of what the server can do',
  usual: false,
  run: async (options) => {
    const results: ShadowResult[] = []
    for (const setup of options.smoke ? setups.slice(0, 1) : setups)
      if (`${setup.name}, ${setup.threads}`.includes(options.only ?? ''))
        results.push(await benchShadow(setup, options))
    const failed = results
      .flatMap(({ without, shadowed }) => [...without, ...shadowed])
      .filter(({ errors }) => errors > 0)
    if (failed.length > 0) throw new Error(`${failed.length} runs had errors`)
    if (results.some(({ compared, dropped }) => compared + dropped === 0)) throw new Error('a shadow copied nothing')
    return { results, text: shadowTable(results) }
  },
}

/** One server; its rules get the shadow and lose it, in turns, and every other round in the other order. */
function benchShadow({ name, threads, apart, repository }: Setup, options: Options): Promise<ShadowResult> {
  return inFolder(async (folder) => {
    const path = repository(folder)
    cpSync(join(path, 'workflows/mlp-64/1'), join(path, 'workflows/mlp-64/2'), { recursive: true })
    writeFileSync(join(path, 'rules.json'), JSON.stringify(plain))
    const requests = Array.from({ length: 256 }, (_, i) => mlpRequest(objective, i))
    const load = { transport: 'websocket', sockets: 8, inFlight: 128, traffic: writeTraffic(folder, requests) } as const
    const env = { MILLRACE_REPOSITORY: path, MILLRACE_POOL_CPU_THREADS: String(threads) }
    const server = await (apart ? startApart(env) : startMillrace(env))
    try {
      const timing = timingOf(options)
      const { perSecond: capacity } = await measure(server, load, timing)
      const runs = { without: [] as Run[], shadowed: [] as Run[] }
      const sides = [
        { rules: plain, into: runs.without },
        { rules: withShadow, into: runs.shadowed },
      ]
      for (let round = 0; round < roundsOf(options); round++) {
        for (const { rules, into } of round % 2 === 0 ? sides : sides.toReversed()) {
          await publish(server, rules)
          const arrivals = { kind: 'poisson', perSecond: capacity / 2 } as const
          // The closed loop warmed it; this is for the copies and what the last rules left.
          const open = { ...timing, warmMsMax: Math.min(1000, timing.warmMsMax) }
          into.push(await measure(server, { ...load, inFlight: 1024, arrivals, seed: round + 1 }, open))
        }
        const [a, b] = [runs.without, runs.shadowed].map((all) => figure(all.at(-1)!.latencyUs.p99))
        options.say(`${name}, ${threads} threads, round ${round + 1}: p99 ${a} us without, ${b} with a shadow`)
      }
      return { name, threads, capacity, ...runs, ...(await copies(server)) }
    } finally {
      await server.stop()
    }
  })
}

/** The network that most figures are of. */
function smallRepository(parent: string): string {
  const path = join(parent, 'repository')
  const version = 'workflows/mlp-64/1'
  cpSync(join(__dirname, '../../repository', version), join(path, version), { recursive: true })
  return path
}

function deviceOf(device: Device): Setup['repository'] {
  return (parent) => {
    const path = join(parent, 'repository')
    writeDevice(path, 'mlp-64', device)
    return path
  }
}

async function publish(server: ServerProcess, rules: RulesFile): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${server.adminPort}/v1/rules`, {
    method: 'POST',
    body: JSON.stringify({ rules }),
  })
  if (!answer.ok) throw new Error(`the rules were not taken: ${await answer.text()}`)
}

async function copies(server: ServerProcess): Promise<{ compared: number; dropped: number }> {
  const answer = await fetch(`http://127.0.0.1:${server.adminPort}/v1/shadows`)
  const { shadows } = (await answer.json()) as { shadows: readonly ShadowReport[] }
  let [compared, dropped] = [0, 0]
  for (const { copies } of shadows)
    for (const [outcome, count] of Object.entries(copies)) {
      if (outcome === 'compared') compared += count
      else dropped += count
    }
  return { compared, dropped }
}

function shadowTable(results: readonly ShadowResult[]): string {
  const mid = (runs: readonly Run[], of: (run: Run) => number): number => median(runs.map(of))
  return table([
    [
      'network',
      'threads',
      'due/s',
      'p50 us',
      'with',
      'p99 us',
      'with',
      'ratio',
      'by round',
      'spread',
      'CPUs',
      'with',
      'copied',
      'refused',
      'generator',
    ],
    ...results.map(({ name, threads, capacity, without, shadowed, compared, dropped }) => {
      const { together, rounds } = p99Ratio(shadowed, without)
      const all = [...without, ...shadowed]
      const limited = all.filter(({ generator }) => generator.limit !== null).length
      return [
        name,
        threads,
        capacity / 2,
        mid(without, (run) => run.latencyUs.p50),
        mid(shadowed, (run) => run.latencyUs.p50),
        p99Together(without),
        p99Together(shadowed),
        together,
        median(rounds),
        spread(rounds),
        mid(without, ({ cpus }) => cpus),
        mid(shadowed, ({ cpus }) => cpus),
        `${figure((100 * compared) / (compared + dropped))} %`,
        all.reduce((sum, run) => sum + run.refused, 0),
        limited === 0 ? '' : `the limit in ${limited} of ${all.length}`,
      ]
    }),
  ])
}
