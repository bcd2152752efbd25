import { fork } from 'node:child_process'
import { join } from 'node:path'
import { cpuUs, measure } from '@millrace/load'
import type { Plot } from '../plot'
import { figure, table } from '../report'
import { startMillrace, type ServerProcess } from '../servers'
import { inFolder, type Options, type Suite } from '../suite'
import { mlpRequest } from '../workloads/mlp'
import { writeTraffic } from '../workloads/workload'
import type { OpenLoadOptions, Phase, PhaseResult } from './open-load'
import { makeRepository } from './repository'

/** Times what the server can do. */
const factors = [0.5, 1, 2, 3] as const

const deadlineMs = 100
/** Of the requests, the others are interactive. */
const bulkShare = 0.2

export interface Loaded extends PhaseResult {
  readonly factor: number
  readonly perSecond: number
  readonly ms: number
  /** CPU of the server, all processes and threads, microseconds. */
  readonly cpuUs: number
  /** CPU of the load, microseconds. */
  readonly loadCpuUs: number
  /** Rows of a batch, in the mean. */
  readonly batchRows: number
}

export interface OverloadResult {
  /** Requests a second of a closed loop that keeps the server busy. */
  readonly capacity: number
  readonly deadlineMs: number
  readonly loads: readonly Loaded[]
  /** After the last load, at half of what the server can do. */
  readonly after: Loaded
  /** From its begin: ms until all that was interactive and came in a tenth of a second was good. */
  readonly recoveryMs: number | null
  /** CPU of the server for a request that it answers and for one that it refuses, microseconds. */
  readonly servedUs: number
  readonly refusedUs: number
}

export const overload: Suite = {
  name: 'overload',
  about: 'open loops of up to three times what a server can do: goodput, latency, what refusals cost',
  usual: true,
  run: async (options) => {
    const results = await benchOverload(options)
    const { capacity, recoveryMs, servedUs, refusedUs } = results
    const text =
      `${overloadTable(results)}\n\na closed loop gets ${figure(capacity)} requests/s; interactive requests are well again ` +
      `${recoveryMs} ms after the last load; a refusal costs ${figure(refusedUs)} us of CPU, a request that is answered ${figure(servedUs)}`
    return { results, text, plots: [{ name: 'goodput', plot: overloadPlot(results) }] }
  },
}

/**
 * Finds what a server can do of a network that is dear, and asks for more: open loop, each load from the same process after
 * the other. In the end half of what it can do, to see how soon it is well again.
 */
function benchOverload({ smoke, quick, say }: Options): Promise<OverloadResult> {
  return inFolder(async (folder) => {
    const server = await startMillrace({ MILLRACE_REPOSITORY: makeRepository(folder) })
    const ms = smoke ? 300 : quick ? 2000 : 5000
    try {
      const traffic = writeTraffic(
        folder,
        Array.from({ length: 256 }, (_, i) => mlpRequest('mlp-64', i)),
      )
      const closed = { transport: 'websocket', sockets: 8, inFlight: 128, traffic } as const
      const { perSecond: capacity, cpuUs: servedUs } = await measure(server, closed, { warmMsMax: ms, measureMs: ms })
      say(`a closed loop gets ${figure(capacity)} requests/s, ${figure(servedUs)} us of CPU each`)
      // The first is not counted: what a server predicts after a closed loop is what that made of it.
      const phases = [0.5, ...factors, 0.5].map((factor) => ({ factor, perSecond: factor * capacity, ms }))
      const all = (await load(server, phases)).map((run, p) => ({ ...phases[p]!, ...run }))
      const loads = all.slice(1, -1)
      for (const one of loads) say(describe(one))
      const [, , twice, thrice] = loads as [Loaded, Loaded, Loaded, Loaded]
      return {
        capacity,
        deadlineMs,
        loads,
        after: all.at(-1)!,
        recoveryMs: all.at(-1)!.wellAfterMs,
        servedUs,
        // What differs between two loads of which the server answers about as much.
        refusedUs:
          (thrice.cpuUs - twice.cpuUs - servedUs * (served(thrice) - served(twice))) /
          (refused(thrice) - refused(twice)),
      }
    } finally {
      await server.stop()
    }
  })
}

/** Requests a second that were answered in time. */
function goodput({ interactive, bulk, ms }: Loaded): number {
  return ((interactive.good + bulk.good) / ms) * 1000
}

function overloadTable({ loads, after }: OverloadResult): string {
  const share = (part: number, whole: number): string => `${figure((100 * part) / whole)} %`
  return table([
    [
      'load',
      'due/s',
      'goodput/s',
      'interactive good',
      'bulk good',
      'late',
      'refused',
      'rows a batch',
      'server CPUs',
      'load CPUs',
      'p50 ms',
      'p99 ms',
      'lag p99 ms',
    ],
    ...[...loads, after].map((one) => [
      one === after ? `${one.factor} x after that` : `${one.factor} x`,
      one.perSecond,
      goodput(one),
      share(one.interactive.good, one.interactive.due),
      share(one.bulk.good, one.bulk.due),
      one.interactive.late + one.bulk.late,
      refused(one),
      one.batchRows,
      one.cpuUs / (1000 * one.ms),
      one.loadCpuUs / (1000 * one.ms),
      one.interactive.p50Ms,
      one.interactive.p99Ms,
      one.lagP99Ms,
    ]),
  ])
}

function overloadPlot({ capacity, loads, deadlineMs }: OverloadResult): Plot {
  const line = (name: string, of: (one: Loaded) => number): Plot['lines'][number] => ({
    name,
    points: loads.map((one) => [one.factor, of(one)] as const),
  })
  const most = Math.max(...loads.map(goodput))
  const ends = [loads[0]!.factor, loads.at(-1)!.factor]
  return {
    title: `Answered within ${deadlineMs} ms, by load`,
    x: { label: `load, times what a closed loop gets (${figure(capacity)} requests/s)` },
    y: { label: 'requests/s', min: 0 },
    lines: [
      line('goodput', goodput),
      line('interactive', ({ interactive, ms }) => (interactive.good / ms) * 1000),
      line('bulk', ({ bulk, ms }) => (bulk.good / ms) * 1000),
      { name: '90 % of the peak', points: ends.map((x) => [x, 0.9 * most] as const), dashed: true },
    ],
  }
}

function describe(one: Loaded): string {
  const { interactive, bulk } = one
  const codes = JSON.stringify({ interactive: interactive.refused, bulk: bulk.refused })
  return `${one.factor} x: ${figure(goodput(one))}/s of ${figure(one.perSecond)}/s good, p99 ${figure(interactive.p99Ms)} ms, ${codes}`
}

function served({ interactive, bulk }: PhaseResult): number {
  return interactive.good + interactive.late + bulk.good + bulk.late
}

function refused({ interactive, bulk }: PhaseResult): number {
  return interactive.due + bulk.due - served({ interactive, bulk } as PhaseResult)
}

/** What the server did until now. */
interface Seen {
  readonly cpuUs: number
  readonly loadCpuUs: number
  readonly rows: number
  readonly batches: number
}

async function look(server: ServerProcess, load: number): Promise<Seen> {
  const cpu = { cpuUs: cpuUs(server.pid), loadCpuUs: cpuUs(load) }
  const { rows, batches } = await server.batches()
  return { ...cpu, rows, batches }
}

function between(before: Seen, after: Seen): Pick<Loaded, 'cpuUs' | 'loadCpuUs' | 'batchRows'> {
  return {
    cpuUs: after.cpuUs - before.cpuUs,
    loadCpuUs: after.loadCpuUs - before.loadCpuUs,
    batchRows: (after.rows - before.rows) / (after.batches - before.batches),
  }
}

/** The phases one after the other, with the CPU that the server used in each. */
async function load(
  server: ServerProcess,
  phases: readonly Phase[],
): Promise<(PhaseResult & ReturnType<typeof between>)[]> {
  const options: OpenLoadOptions = {
    port: server.port,
    sockets: 8,
    objective: 'mlp-64',
    deadlineUs: deadlineMs * 1000,
    bulkShare,
    phases,
  }
  const child = fork(join(__dirname, 'open-load-process.js'), { execArgv: [] })
  const seen: Promise<Seen>[] = []
  try {
    const results = await new Promise<PhaseResult[]>((resolve, reject) => {
      child.on('message', (message: { phase?: number; results?: PhaseResult[]; error?: string }) => {
        if (message.phase !== undefined) seen.push(look(server, child.pid!))
        else if (message.results !== undefined) resolve(message.results)
        else reject(new Error(message.error))
      })
      child.once('exit', (code) => reject(new Error(`the load ended with ${code}`)))
      child.send(options)
    })
    const looks = await Promise.all(seen)
    return results.map((result, p) => ({ ...result, ...between(looks[p]!, looks[p + 1]!) }))
  } finally {
    child.disconnect()
  }
}
