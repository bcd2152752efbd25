import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { busyUs, measure, type Run } from '@millrace/load'
import type { Profile } from '@millrace/plan'
import type { Plot } from '../plot'
import { figure, marked, median, table } from '../report'
import { startApart, type ServerProcess } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import type { Prepared } from '../workloads/workload'
import { deviceNames } from './devices'
import { measureProfile } from './measure-profile'
import { predict, type Behaviour } from './predict'
import { nameOf, setups, type Setup } from './setups'

export interface Validated {
  readonly name: string
  /** Of what the closed loop got; null: that closed loop. */
  readonly load: number | null
  readonly measured: Behaviour
  readonly predicted: Behaviour
  /** CPUs that other programs used meanwhile, which the prediction knows nothing of. */
  readonly othersCpus: number
  readonly runs: readonly Run[]
}

/** How far a prediction may be off: of the throughput of closed loops, of the 99th percentile of open ones. */
const within = { perSecond: 0.1, p99Us: 0.25 } as const
/** Requests in flight on a socket of an open loop: it is not kept from sending. */
const inFlightOpen = 4096

export const planSuite: Suite = {
  name: 'plan',
  about: 'what the planner predicts of this machine, from what it measured, against what the machine does',
  usual: false,
  run: async (options) => {
    const results = await inFolder((folder) => validate(folder, options))
    const text = `${validatedTable(results)}\n\n${summaryOf(results)}`
    return { results, text, plots: [{ name: 'predicted', plot: plotOf(results) }] }
  },
}

interface Known extends Prepared {
  readonly profile: Profile
}

async function validate(folder: string, options: Options): Promise<Validated[]> {
  const chosen = setups.filter((setup) => nameOf(setup).includes(options.only ?? ''))
  const profiles = new Map<string, Profile>()
  const results: Validated[] = []
  for (const setup of options.smoke ? chosen.slice(0, 1) : chosen) {
    const { workload, batchRows, threads, waits } = setup
    const own = join(folder, String(chosen.indexOf(setup)))
    mkdirSync(own)
    const prepared = await workload.prepare(own)
    // All devices are in one repository.
    const learnt = waits ? 'devices' : workload.name
    const profile = profiles.get(learnt) ?? (await learn(learnt, setup, prepared, join(own, 'profile.json'), options))
    profiles.set(learnt, profile)
    const costs = { ...prepared, profile }
    const limit = batchRows === null ? {} : { MILLRACE_POOL_CPU_BATCH: String(batchRows) }
    const server = await startApart({ ...prepared.env, ...limit, MILLRACE_POOL_CPU_THREADS: String(threads) })
    try {
      const closed = await compare(server, setup, null, 0, costs, options)
      results.push(closed)
      for (const load of setup.loads)
        results.push(await compare(server, setup, load, load * closed.measured.perSecond, costs, options))
    } finally {
      await server.stop()
    }
  }
  return results
}

/** What the setup's workload costs, as the planner would be told. */
function learn(
  name: string,
  { mix, waits }: Setup,
  { env, traffic }: Prepared,
  file: string,
  { quick, smoke, say }: Options,
): Promise<Profile> {
  say(`${name}: what it costs`)
  const asked = waits ? deviceNames.map((objective) => ({ objective, rows: 1 })) : mix
  return measureProfile(
    env,
    asked.map(({ objective, rows }) => `${objective}:${rows}`),
    // Of devices one profile serves several setups, whose requests are all alike.
    waits ? null : traffic,
    file,
    quick || smoke,
  )
}

async function compare(
  server: ServerProcess,
  setup: Setup,
  load: number | null,
  perSecond: number,
  { traffic, profile }: Known,
  options: Options,
): Promise<Validated> {
  const { transport, sockets } = setup
  const how =
    load === null
      ? { inFlight: setup.inFlight }
      : { inFlight: inFlightOpen, arrivals: { kind: 'poisson', perSecond } as const }
  const runs: Run[] = []
  const others: number[] = []
  for (let round = 0; round < roundsOf(options); round++) {
    const [busy, begun] = [busyUs(), performance.now()]
    const run = await measure(server, { transport, sockets, traffic, ...how, seed: round + 1 }, timingOf(options))
    const all = (busyUs() - busy) / 1000 / (performance.now() - begun)
    runs.push(run)
    others.push(Math.max(0, all - run.cpus - run.generator.cpus))
  }
  const mid = (of: (run: Run) => number): number => median(runs.map(of))
  const loadUs = mid((run) => (run.generator.cpus * 1e6) / run.perSecond)
  const result = {
    ...{ name: nameOf(setup), load, runs, othersCpus: median(others) },
    measured: { perSecond: mid((run) => run.perSecond), p99Us: mid((run) => run.latencyUs.p99) },
    predicted: predict(setup, profile, server.apart ?? null, loadUs, load === null ? null : perSecond),
  }
  const { measured, predicted } = result
  options.say(
    `${result.name}, ${loadText(load)}: ${figure(measured.perSecond)}/s, p99 ${figure(measured.p99Us)} us; ` +
      `predicted ${figure(predicted.perSecond)}/s, ${figure(predicted.p99Us)} us`,
  )
  return result
}

function loadText(load: number | null): string {
  return load === null ? 'all it can' : `${Math.round(100 * load)} %`
}

/** By how much the prediction is off, of what was measured. */
function errorOf({ measured, predicted }: Validated, what: keyof Behaviour): number {
  return predicted[what] / measured[what] - 1
}

function validatedTable(results: readonly Validated[]): string {
  const percent = (error: number): string => `${error > 0 ? '+' : ''}${Math.round(100 * error)} %`
  return table([
    ['one lane', 'load', 'requests/s', 'predicted', 'off', 'p99 us', 'predicted', 'off', 'others CPUs', 'generator'],
    ...results.map((one) => [
      one.name,
      loadText(one.load),
      one.measured.perSecond,
      one.predicted.perSecond,
      percent(errorOf(one, 'perSecond')),
      one.measured.p99Us,
      one.predicted.p99Us,
      percent(errorOf(one, 'p99Us')),
      one.othersCpus,
      marked(one.runs),
    ]),
  ])
}

function summaryOf(results: readonly Validated[]): string {
  const good = (what: keyof Behaviour, among: readonly Validated[]): string =>
    `${among.filter((one) => Math.abs(errorOf(one, what)) <= within[what]).length} of ${among.length}`
  const closed = results.filter(({ load }) => load === null)
  const open = results.filter(({ load }) => load !== null)
  return (
    `within ${100 * within.perSecond} % of the throughput of closed loops: ${good('perSecond', closed)}; ` +
    `within ${100 * within.p99Us} % of the 99th percentile of open loops: ${good('p99Us', open)}`
  )
}

function plotOf(results: readonly Validated[]): Plot {
  const open = results.filter(({ load }) => load !== null)
  const ms = open.flatMap(({ measured, predicted }) => [measured.p99Us / 1000, predicted.p99Us / 1000])
  const ends = [Math.min(...ms), Math.max(...ms)] as const
  const names = [...new Set(open.map(({ name }) => name))]
  return {
    title: 'p99, predicted and measured',
    x: { label: 'measured, ms', scale: 'log' },
    y: { label: 'predicted, ms', scale: 'log' },
    lines: [
      { name: 'as measured', dashed: true, points: ends.map((one) => [one, one] as const) },
      ...names.map((name) => ({
        name,
        points: open
          .filter((one) => one.name === name)
          .map(({ measured, predicted }) => [measured.p99Us / 1000, predicted.p99Us / 1000] as const),
      })),
    ],
  }
}
