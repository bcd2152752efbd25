import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { denseView, elementsPerRow, Strings, type ColumnSpec, type DenseDType } from '@millrace/base'
import { toColumn, type InputValue } from '@millrace/client'
import { measure, threadCpu, type Apart, type Target, type ThreadCpu } from '@millrace/load'
import type { Server } from '@millrace/server'
import type { TransportName } from '@millrace/plan'
import { encodeRecording, encodeRequest } from '@millrace/wire'
import { columnsFromJson } from '@millrace/workflow'

/** A closed loop: so many connections, each with so many requests in flight. */
export interface Load {
  readonly transport: TransportName
  readonly connections: number
  /** Over HTTP 1. */
  readonly inFlight: number
  readonly objective: string
  /** One or more, sent in turns, of `rows` rows each. */
  readonly requests: readonly Readonly<Record<string, InputValue>>[]
  readonly rows: number
  /** Longest time until what a request costs has stopped falling. */
  readonly warmMsMax: number
  readonly ms: number
}

/** What one lane spent under a load, microseconds of CPU, and how its requests came together. */
export interface Spent {
  /** Of its first thread, a request. */
  readonly frontUs: number
  /** Of all other threads, a batch. */
  readonly poolBatchUs: number
  readonly requestsPerBatch: number
  readonly rowsPerBatch: number
}

/** Longest wait for an answer, microseconds: what is asked is what it costs, not whether it is in time. */
const deadlineUs = 60_000_000
/** Subjects that ask. */
const subjects = 1024

/**
 * Loads a server of one lane and reads what its threads took from the kernel's accounts.
 *
 * @param apart CPUs that the server is kept on, and those of its load; null: they share all
 */
export async function spend(server: Server, apart: Apart | null, load: Load): Promise<Spent> {
  const { transport, connections, inFlight, objective, rows } = load
  const folder = mkdtempSync(join(tmpdir(), 'millrace-load-'))
  const traffic = join(folder, 'traffic')
  const inputs = load.requests.map((one) => Object.entries(one).map(([name, value]) => toColumn(name, value)))
  const requests = Array.from({ length: subjects }, (_, i) => ({
    arrivalUs: i,
    message: encodeRequest({
      ...{ id: 1n, objective, subject: `subject-${i}`, deadlineUs },
      inputs: inputs[i % inputs.length]!,
    }),
  }))
  writeFileSync(traffic, encodeRecording({ beganMs: 0, requests }))
  // Read at the begin and at the end of what is measured.
  const read: Counters[] = []
  const [lane] = await server.snapshots()
  const target: Target = {
    ...{ pid: lane!.pid, ports: [server.port], apart },
    batches: async () => {
      read.push(await counters(server))
      return read.at(-1)!
    },
  }
  try {
    const timing = { warmMsMax: load.warmMsMax, measureMs: load.ms }
    const run = await measure(target, { transport, sockets: connections, inFlight, traffic }, timing)
    if (run.good === 0 || run.errors > 0 || run.refused > run.good / 100)
      throw new Error(
        `${objective}, ${connections} connections with ${inFlight} requests in flight: ` +
          `${run.good} were answered, others with ${JSON.stringify(run.codes)}`,
      )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const [before, after] = [read[0]!, read[1]!]
  const batches = after.batches - before.batches
  const rowsPerBatch = (after.rows - before.rows) / batches
  return {
    frontUs: ((after.first - before.first) / (after.rows - before.rows)) * rows,
    poolBatchUs: (after.others - before.others) / batches,
    requestsPerBatch: rowsPerBatch / rows,
    rowsPerBatch,
  }
}

interface Counters extends ThreadCpu {
  readonly batches: number
  readonly rows: number
}

async function counters(server: Server): Promise<Counters> {
  const [lane] = await server.snapshots()
  const histograms = lane!.batchRows.map(({ histogram }) => histogram)
  return {
    ...threadCpu(lane!.pid),
    batches: histograms.reduce((sum, { count }) => sum + count, 0),
    rows: histograms.reduce((sum, histogram) => sum + histogram.sum, 0),
  }
}

/** The columns of a request as the client takes them, its rows over and over until they are `rows`. */
export function inputsOf(specs: readonly ColumnSpec[], json: unknown, rows: number): Record<string, InputValue> {
  const columns = columnsFromJson(specs, json)
  return Object.fromEntries(
    specs.map((spec): [string, InputValue] => {
      const column = columns.inputs[spec.name]!
      const places = Array.from({ length: spec.per === 'row' ? rows : 1 }, (_, i) => i % columns.rows)
      if (column instanceof Strings) {
        if (spec.dtype === 'string') return [spec.name, places.map((i) => column.at(i))]
        const bytes = places.map((i) => Buffer.from(column.bytes(i)))
        if (spec.dtype === 'bytes') return [spec.name, bytes]
        const view = (one: Buffer): ReturnType<typeof denseView> => {
          const copy = new Uint8Array(one).buffer
          return denseView(spec.dtype as DenseDType, copy, 0, copy.byteLength / bytesOf(spec.dtype as DenseDType))
        }
        return [spec.name, bytes.map(view)]
      }
      const width = elementsPerRow(spec)
      const values = places.flatMap((i) => Array.from(column.subarray(i * width, (i + 1) * width) as Iterable<number>))
      return [spec.name, { dtype: spec.dtype, values, shape: spec.shape }]
    }),
  )
}

function bytesOf(dtype: DenseDType): number {
  return denseView(dtype, new ArrayBuffer(0), 0, 0).BYTES_PER_ELEMENT
}
