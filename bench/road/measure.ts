import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { LaneSnapshot } from '@millrace/server'
import { cpuUs } from '../cpu'
import { hashOf } from '../stage/fixtures'
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

/** A server in a process of its own. */
export interface ServerProcess {
  readonly pid: number
  readonly port: number
  /** Rows and batches that ran so far, and the process of the lane; not for the echo. */
  batches(): Promise<{ rows: number; batches: number; lanePid: number }>
  stop(): Promise<void>
}

/** One load, from a process of its own, against one server. */
export async function measure(
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

/** @param file beside this one */
export async function startProcess(file: string, env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
  const child = fork(join(__dirname, file), { env: { ...process.env, ...env } })
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
        lanePid: snapshots[0]!.pid,
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
