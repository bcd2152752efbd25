import type { Transport } from '@millrace/load'
import { demoOf, ranking } from '../workloads/demo'
import { mlp } from '../workloads/mlp'
import { mlpTfjs } from '../workloads/mlp-tfjs'
import type { Workload } from '../workloads/workload'
import { devicesOf, type DeviceName } from './devices'

/** One thing that is served, as a plan names it. */
export interface Part {
  readonly objective: string
  readonly share: number
  readonly rows: number
  /** Undefined: it runs no model. */
  readonly engine?: string
}

/** What is asked of one lane: as much as it can, and of that so much. */
export interface Setup {
  readonly workload: Workload
  /** Pool threads. */
  readonly threads: number
  /** The threads wait for devices: they do not share the CPUs of the server. */
  readonly waits: boolean
  readonly mix: readonly Part[]
  readonly transport: Transport
  readonly sockets: number
  /** Requests in flight on each socket, while it does as much as it can; over HTTP 1. */
  readonly inFlight: number
  /** MILLRACE_POOL_CPU_BATCH; null: as the workflows say. */
  readonly batchRows: number | null
  /** Open loops, of what the closed one got. */
  readonly loads: readonly number[]
}

const small: Part = { objective: 'mlp-64', share: 1, rows: 1, engine: 'onnxruntime' }
const tfjs: Part = { objective: 'mlp-tfjs', share: 1, rows: 1, engine: 'tfjs' }
const titles: Part = { objective: 'title-ranking', share: 1, rows: 200, engine: 'tfjs' }
const flights: Part = { objective: 'flight-delay', share: 1, rows: 1, engine: 'onnxruntime' }
const mixed = demoOf('flights and rankings', { flight: 0.8, ranking: 0.2 })

const webSocket = { transport: 'websocket', sockets: 4, batchRows: null, loads: [0.3, 0.6, 0.8] } as const
const onCpus = { ...webSocket, threads: 1, waits: false } as const

/** Half of the objectives' requests each. */
function waiting(names: readonly DeviceName[], threads: number, loads: readonly number[]): Setup {
  const mix = names.map((objective): Part => ({ objective, share: 1, rows: 1 }))
  return { ...webSocket, workload: devicesOf(names), mix, threads, waits: true, inFlight: 128, loads }
}

export const setups: readonly Setup[] = [
  waiting(['by-the-row'], 1, [0.3, 0.6, 0.8]),
  waiting(['by-the-batch'], 1, [0.3, 0.6, 0.8]),
  waiting(['between'], 1, [0.3, 0.6, 0.8]),
  waiting(['between'], 2, [0.6]),
  waiting(['by-the-row', 'by-the-batch'], 1, [0.6]),
  { ...onCpus, workload: mlp, mix: [small], inFlight: 256 },
  // A connection over HTTP has one request in flight: an open loop would wait for its own connections.
  { ...onCpus, workload: mlp, mix: [small], transport: 'http', sockets: 64, inFlight: 1, loads: [] },
  { ...onCpus, workload: mlpTfjs, mix: [tfjs], inFlight: 256 },
  { ...onCpus, workload: mlpTfjs, mix: [tfjs], inFlight: 256, batchRows: 16, loads: [0.6] },
  { ...onCpus, workload: ranking, mix: [titles], inFlight: 16 },
  { ...onCpus, workload: ranking, mix: [titles], inFlight: 16, batchRows: 400, loads: [0.6] },
  {
    ...{ ...onCpus, workload: mixed, inFlight: 32, loads: [0.6] },
    mix: [
      { ...flights, share: 0.8 },
      { ...titles, share: 0.2 },
    ],
  },
]

export function nameOf({ workload, threads, transport, sockets, inFlight, batchRows }: Setup): string {
  const how = transport === 'http' ? `HTTP ${sockets}` : `WebSocket ${sockets} x ${inFlight}`
  const pool = threads === 1 ? '' : `, ${threads} threads`
  return `${workload.name}${pool}, ${how}${batchRows === null ? '' : `, batches of ${batchRows} rows`}`
}
