import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { fnv1a64, type U64 } from '@millrace/base'
import type { LaneSnapshot } from '@millrace/server'
import { cpuUs, rssBytes } from '../cpu'
import { figure, median, table } from '../report'
import type { LoadOptions, LoadResult } from './load'

/** How hard, over what. */
export interface Scenario {
  readonly name: string
  readonly transport: 'websocket' | 'http'
  readonly sockets: number
  readonly inFlight: number
}

export const scenarios: readonly Scenario[] = [
  { name: 'WebSocket, 4 x 256 in flight', transport: 'websocket', sockets: 4, inFlight: 256 },
  { name: 'WebSocket, 64 x 1 in flight', transport: 'websocket', sockets: 64, inFlight: 1 },
  { name: 'HTTP keep-alive, 64 x 1 in flight', transport: 'http', sockets: 64, inFlight: 1 },
  { name: 'HTTP keep-alive, 1 in flight', transport: 'http', sockets: 1, inFlight: 1 },
]

/** One run against one server. */
export interface Measured extends LoadResult {
  /** Server CPU, all its processes and threads, microseconds for each reply. */
  readonly cpuUs: number
  readonly perSecond: number
  /** Mean rows of a batch; NaN for the echo. */
  readonly batchRows: number
}

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

/** The same load for as long as it takes to answer `requests`, and what the server's memory was at both marks. */
export async function benchMemory(
  requests: number,
  onProgress: (line: string) => void,
): Promise<{ early: number; late: number; requests: number }> {
  const server = await startProcess('server-process.js')
  try {
    const scenario = scenarios[0]!
    let done = 0
    let early = 0
    while (done < requests) {
      const { replies } = await measure(server, scenario, { warmMs: 0, measureMs: 1000 }, false)
      done += replies
      if (early === 0 && done >= requests / 10) early = rssBytes(server.pid)
      onProgress(`${figure(done)} requests, ${figure(rssBytes(server.pid) / 2 ** 20)} MiB`)
    }
    return { early, late: rssBytes(server.pid), requests: done }
  } finally {
    await server.stop()
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

interface ServerProcess {
  readonly pid: number
  readonly port: number
  /** Rows and batches that ran so far. */
  batches(): Promise<{ rows: number; batches: number }>
  stop(): Promise<void>
}

async function measure(
  server: ServerProcess,
  scenario: Scenario,
  { warmMs, measureMs }: { warmMs: number; measureMs: number },
  echo: boolean,
): Promise<Measured> {
  const load: LoadOptions = {
    ...scenario,
    port: server.port,
    objectiveHash: String(hashOf('mlp-64')),
    warmMs,
    measureMs,
    echo,
  }
  const child = fork(join(__dirname, 'load-process.js'))
  let cpu = 0
  const before = echo ? null : await server.batches()
  const result = await new Promise<LoadResult>((resolve, reject) => {
    child.on('message', (message: 'begin' | 'end' | { result?: LoadResult; error?: string }) => {
      if (message === 'begin') cpu = -cpuUs(server.pid)
      else if (message === 'end') cpu += cpuUs(server.pid)
      else if (message.result !== undefined) resolve(message.result)
      else reject(new Error(message.error))
    })
    child.once('exit', (code) => reject(new Error(`the load ended with ${code}`)))
    child.send(load)
  })
  const after = echo ? null : await server.batches()
  await stopProcess(child)
  return {
    ...result,
    cpuUs: cpu / result.replies,
    perSecond: result.replies / result.seconds,
    batchRows: before === null || after === null ? NaN : (after.rows - before.rows) / (after.batches - before.batches),
  }
}

async function startProcess(file: string): Promise<ServerProcess> {
  const child = fork(join(__dirname, file))
  const { port } = await nextMessage<{ port: number }>(child)
  return {
    pid: child.pid!,
    port,
    batches: async () => {
      child.send('snapshot')
      const { snapshots } = await nextMessage<{ snapshots: LaneSnapshot[] }>(child)
      const histograms = snapshots.flatMap(({ batchRows }) => batchRows.map(({ histogram }) => histogram))
      return {
        rows: histograms.reduce((sum, histogram) => sum + histogram.sum, 0),
        batches: histograms.reduce((sum, histogram) => sum + histogram.count, 0),
      }
    },
    stop: () => stopProcess(child),
  }
}

function nextMessage<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const gone = (code: number | null): void => reject(new Error(`a bench process ended with ${code}`))
    child.once('exit', gone)
    child.once('message', (message) => {
      child.off('exit', gone)
      resolve(message as T)
    })
  })
}

/** Our own child, by its channel: it ends when that is gone. */
function stopProcess(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.disconnect()
  })
}

function hashOf(objective: string): bigint {
  const bytes = Buffer.from(objective)
  const out: U64 = { lo: 0, hi: 0 }
  fnv1a64(bytes, 0, bytes.length, out)
  return (BigInt(out.hi) << 32n) | BigInt(out.lo)
}
