import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { measure, type Run } from '@millrace/load'
import { figure, marked, median, table } from '../report'
import { startMillrace } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import type { Workload } from './workload'
import { many } from './many'
import { workloads } from './workloads'

export interface WorkloadResult {
  readonly workload: string
  readonly about: string
  readonly runs: readonly Run[]
  /** Why it was not measured. */
  readonly skipped: string | null
}

export const workloadSuite: Suite = {
  name: 'workloads',
  about: 'what people serve: small and real networks, hundreds of models, images, tenants; WebSocket, closed loops',
  usual: false,
  run: async (options) => {
    const results = await benchWorkloads(options)
    const skipped = results.flatMap(({ workload, skipped }) =>
      skipped === null ? [] : [`${workload} is skipped: ${skipped}`],
    )
    const measured = results.filter((one) => one.skipped === null)
    const plot = {
      title: 'Server CPU a request, by workload',
      y: { label: 'us', scale: 'log' },
      groups: measured.map(({ workload }) => workload),
      bars: [{ name: 'CPU', values: measured.map(({ runs }) => median(runs.map(({ cpuUs }) => cpuUs))) }],
    } as const
    return { results, text: [workloadTable(results), ...skipped].join('\n'), plots: [{ name: 'cpu', plot }] }
  },
}

async function benchWorkloads(options: Options): Promise<WorkloadResult[]> {
  const results: WorkloadResult[] = []
  for (const workload of options.smoke ? smallOf(workloads) : workloads)
    if (workload.name.includes(options.only ?? '')) results.push(await benchWorkload(workload, options))
  return results
}

/** Three models are loaded in a moment. */
function smallOf(all: readonly Workload[]): Workload[] {
  return all.map((workload) => (workload.name.startsWith('many') ? many(3) : workload))
}

function benchWorkload(workload: Workload, options: Options): Promise<WorkloadResult> {
  const { name, about } = workload
  return inFolder(async (folder) => {
    let prepared
    try {
      prepared = await workload.prepare(folder)
    } catch (error) {
      return { workload: name, about, runs: [], skipped: (error as Error).message }
    }
    // Made in the workload's own folder: that of the rules must not be the demo's.
    const state = join(folder, 'state')
    mkdirSync(state, { recursive: true })
    const server = await startMillrace({ ...prepared.env, MILLRACE_STATE_FOLDER: state })
    try {
      const runs: Run[] = []
      for (let round = 0; round < roundsOf(options); round++) {
        const load = { transport: 'websocket', sockets: 4, inFlight: 16, traffic: prepared.traffic } as const
        const run = await measure(server, load, timingOf(options))
        runs.push(run)
        options.say(`${name}, round ${round + 1}: ${figure(run.cpuUs)} us a request, ${figure(run.perSecond)}/s`)
        if (run.good === 0 || run.errors > 0) throw new Error(`${name}: ${JSON.stringify(run.codes)}`)
      }
      return { workload: name, about, runs, skipped: null }
    } finally {
      await server.stop()
    }
  })
}

function workloadTable(results: readonly WorkloadResult[]): string {
  return table([
    [
      'workload, 4 sockets x 16 in flight',
      'requests/s',
      'server CPU us',
      'p50 us',
      'p99 us',
      'batch rows',
      'generator',
    ],
    ...results
      .filter(({ skipped }) => skipped === null)
      .map(({ workload, runs }) => {
        const mid = (of: (run: Run) => number): number => median(runs.map(of))
        return [
          workload,
          mid((run) => run.perSecond),
          mid((run) => run.cpuUs),
          mid((run) => run.latencyUs.p50),
          mid((run) => run.latencyUs.p99),
          mid((run) => run.batchRows),
          marked(runs),
        ]
      }),
  ])
}
