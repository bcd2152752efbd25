import type { Transport } from '../load/frames'
import { demoOf, ranking } from '../workloads/demo'
import { mlp } from '../workloads/mlp'
import { mlpTfjs } from '../workloads/mlp-tfjs'
import type { Workload } from '../workloads/workload'

/** One thing that is served, as a plan names it. */
export interface Part {
  readonly objective: string
  readonly share: number
  readonly rows: number
  readonly engine: string
}

/** What is asked of one lane with one pool thread: as much as it can, and of that so much. */
export interface Setup {
  readonly workload: Workload
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

export const setups: readonly Setup[] = [
  { ...webSocket, workload: mlp, mix: [small], inFlight: 256 },
  // A connection over HTTP has one request in flight: an open loop would wait for its own connections.
  { ...webSocket, workload: mlp, mix: [small], transport: 'http', sockets: 64, inFlight: 1, loads: [] },
  { ...webSocket, workload: mlpTfjs, mix: [tfjs], inFlight: 256 },
  { ...webSocket, workload: mlpTfjs, mix: [tfjs], inFlight: 256, batchRows: 16, loads: [0.6] },
  { ...webSocket, workload: ranking, mix: [titles], inFlight: 16 },
  { ...webSocket, workload: ranking, mix: [titles], inFlight: 16, batchRows: 400, loads: [0.6] },
  {
    ...{ ...webSocket, workload: mixed, inFlight: 32, loads: [0.6] },
    mix: [
      { ...flights, share: 0.8 },
      { ...titles, share: 0.2 },
    ],
  },
]

export function nameOf({ workload, transport, sockets, inFlight, batchRows }: Setup): string {
  const how = transport === 'http' ? `HTTP ${sockets}` : `WebSocket ${sockets} x ${inFlight}`
  return `${workload.name}, ${how}${batchRows === null ? '' : `, batches of ${batchRows} rows`}`
}
