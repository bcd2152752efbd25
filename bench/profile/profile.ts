import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import type { Profiler } from 'node:inspector'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { measure } from '@millrace/load'
import type { Bars } from '../plot'
import { figure, table } from '../report'
import { loadOf, type Scenario } from '../road/scenarios'
import { startMillrace } from '../servers'
import { timingOf, type Options } from '../suite'
import type { Prepared } from '../workloads/workload'
import { stepsOf, type Steps, type ThreadProfile } from './thread-profile'

export interface Profiled {
  readonly scenario: Scenario
  readonly requests: number
  /** By thread, microseconds of CPU a request by step. */
  readonly threads: readonly { readonly name: string; readonly steps: Steps }[]
}

const writtenMsMax = 20_000

/**
 * One more run of a scenario, profiled: what the front thread and the pool threads do and what the front thread allocates.
 *
 * @param folder where the profiles are left, for the developer tools of Chrome and for editors
 */
export async function profileRoad(
  scenario: Scenario,
  { env, traffic }: Prepared,
  folder: string,
  options: Options,
): Promise<Profiled> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const hook = `--require ${join(__dirname, 'hook.js')}`
  const server = await startMillrace({ ...env, NODE_OPTIONS: hook, PROFILE_FOLDER: folder })
  const load = loadOf(scenario, traffic)
  const timing = timingOf(options)
  try {
    await measure(server, load, timing)
    const before = await server.batches()
    process.kill(before.lanePid, 'SIGUSR2')
    await measure(server, load, { ...timing, warmMsMax: 0 })
    process.kill(before.lanePid, 'SIGUSR2')
    const requests = (await server.batches()).rows - before.rows
    const accounts = await written(folder)
    const threads = accounts.map((account) => {
      const profile = JSON.parse(readFileSync(join(folder, `${account.name}.cpuprofile`), 'utf8')) as Profiler.Profile
      return {
        name: account.name,
        steps: stepsOf(profile, account).map(([step, us]) => [step, us / requests] as const),
      }
    })
    return { scenario, requests, threads }
  } finally {
    await server.stop()
  }
}

export function profileTable({ scenario, requests, threads }: Profiled, folder: string): string {
  const rows = threads.flatMap(({ name, steps }) => {
    const total = steps.reduce((sum, [, us]) => sum + us, 0)
    return [
      [name, 'all of it', total, ''],
      ...steps.map(([step, us]) => ['', step, us, `${Math.round((100 * us) / total)} %`]),
    ]
  })
  return (
    `${scenario.name}, profiled, which costs too; ${figure(requests)} requests:\n\n` +
    `${table([['thread', 'step', 'CPU us a request', 'of it'], ...rows])}\n\nprofiles are in ${folder}`
  )
}

export function profilePlot({ scenario, threads }: Profiled): Bars {
  const groups = [...new Set(threads.flatMap(({ steps }) => steps.map(([step]) => step)))]
  return {
    title: `CPU by step: ${scenario.name}`,
    y: { label: 'us a request' },
    groups,
    bars: threads.map(({ name, steps }) => {
      const us = new Map(steps)
      return { name, values: groups.map((step) => us.get(step) ?? 0) }
    }),
  }
}

/** The accounts of the threads, when all that profiled have written theirs. */
async function written(folder: string): Promise<ThreadProfile[]> {
  for (const end = performance.now() + writtenMsMax; performance.now() < end; await sleep(100)) {
    const files = readdirSync(folder)
    const accounts = files.filter((file) => file.endsWith('.json'))
    const done = accounts.every((file) => existsSync(join(folder, file.replace('.json', '.cpuprofile'))))
    if (done && accounts.includes('front.json') && accounts.length > 1 && files.includes('front.heapprofile'))
      return accounts.sort().map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as ThreadProfile)
  }
  throw new Error(`the lane wrote no profiles in ${writtenMsMax / 1000} s`)
}
