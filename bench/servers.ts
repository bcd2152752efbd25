import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { cutCpus, type Target, toServer } from '@millrace/load'
import type { LaneSnapshot } from '@millrace/server'

/** A server in a process of its own. */
export interface ServerProcess extends Target {
  readonly port: number
  /** Not of the echo. */
  readonly adminPort: number
  /** Why it is not on the CPUs that it was told; null: it is, or was told none. */
  readonly notApart: string | null
  /** What its lanes say; not of the echo. */
  snapshots(): Promise<LaneSnapshot[]>
  /** Rows and batches that ran so far, and the process of the first lane; not of the echo. */
  batches(): Promise<{ rows: number; batches: number; lanePid: number }>
  stop(): Promise<void>
}

/** Millrace as it is shipped, on the repository of the benches unless `env` names another. */
export function startMillrace(env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
  return startProcess('server-process.js', env)
}

/** The same on CPUs of its own, which its load does not use; where that cannot be it is said, and shown in each `Run`. */
export async function startApart(env: Readonly<Record<string, string>>): Promise<ServerProcess> {
  const apart = cutCpus()
  const server = await startProcess('server-process.js', apart === null ? env : { ...env, ...toServer(apart) })
  const why = apart === null ? 'there is one CPU' : server.notApart
  if (why !== null) console.error(`  server and load share CPUs: ${why}`)
  return { ...server, apart: why === null ? apart : null }
}

/** A bare uWebSockets.js server that sends back the frames that it gets. */
export async function startEcho(): Promise<Target & { readonly port: number; stop(): Promise<void> }> {
  const echo = await startProcess('echo-process.js')
  // It knows of no batches.
  return { pid: echo.pid, port: echo.port, ports: echo.ports, stop: () => echo.stop() }
}

/** @param file in `road`, or a path of its own */
export async function startProcess(file: string, env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
  const child = fork(file.startsWith('/') ? file : join(__dirname, 'road', file), { env: { ...process.env, ...env } })
  type Started = Pick<ServerProcess, 'port' | 'adminPort'> & { readonly notApart?: string | null }
  const { port, adminPort, notApart = null } = await nextMessage<Started>(child)
  const snapshots = async (): Promise<LaneSnapshot[]> => {
    child.send('snapshot')
    return (await nextMessage<{ snapshots: LaneSnapshot[] }>(child)).snapshots
  }
  return {
    pid: child.pid!,
    port,
    adminPort,
    notApart,
    ports: [port],
    snapshots,
    batches: async () => {
      const lanes = await snapshots()
      const histograms = lanes.flatMap(({ batchRows }) => batchRows.map(({ histogram }) => histogram))
      return {
        rows: histograms.reduce((sum, histogram) => sum + histogram.sum, 0),
        batches: histograms.reduce((sum, histogram) => sum + histogram.count, 0),
        lanePid: lanes[0]!.pid,
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
export function stopProcess(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.disconnect()
  })
}
