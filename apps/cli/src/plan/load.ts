import { denseView, elementsPerRow, Strings, type ColumnSpec, type DenseDType } from '@millrace/base'
import { Client, type InputValue } from '@millrace/client'
import type { Server } from '@millrace/server'
import { isWarm, windowMs } from '@millrace/load'
import type { TransportName } from '@millrace/plan'
import { columnsFromJson } from '@millrace/workflow'
import { threadCpu, type ThreadCpu } from './thread-cpu'

/** A closed loop: so many connections, each with so many requests in flight. */
export interface Load {
  readonly transport: TransportName
  readonly connections: number
  readonly inFlight: number
  /** Requests of one message: a list where it is more than one, which HTTP alone takes. */
  readonly list: number
  readonly objective: string
  readonly inputs: Readonly<Record<string, InputValue>>
  /** Longest time until what a request costs has stopped falling. */
  readonly warmMsMax: number
  readonly ms: number
}

/** What one lane spent under a load, microseconds of CPU a request, and requests a batch. */
export interface Spent {
  readonly requests: number
  readonly frontUs: number
  /** Of all other threads of the lane, a batch. */
  readonly poolBatchUs: number
  readonly requestsPerBatch: number
  readonly rowsPerBatch: number
}

/** Sends to a server of one lane and reads what its threads took from the kernel's accounts. */
export async function spend(server: Server, load: Load): Promise<Spent> {
  const { transport, connections, inFlight, list, objective, inputs } = load
  const client = new Client({ url: `http://127.0.0.1:${server.port}`, transport, sockets: connections, retries: 0 })
  let replies = 0
  const end = { stopped: false }
  const one = async (i: number): Promise<void> => {
    for (let n = 0; !end.stopped; n++, replies += list) {
      const requests = Array.from({ length: list }, (_, r) => ({ objective, subject: `${i}-${n}-${r}`, inputs }))
      if (list === 1) await client.score(requests[0]!)
      else for (const answer of await client.scoreMany(requests)) if (answer instanceof Error) throw answer
    }
  }
  try {
    const loops = Promise.all(Array.from({ length: connections * inFlight }, (_, i) => one(i)))
    // A refusal ends the measurement, here rather than unhandled later.
    const timed = async (): Promise<Spent> => {
      const before = await warmed(server, load.warmMsMax, () => replies)
      const begun = replies
      await sleep(load.ms)
      const after = await counters(server)
      const requests = replies - begun
      const batches = after.batches - before.batches
      return {
        requests,
        frontUs: (after.first - before.first) / requests,
        poolBatchUs: (after.others - before.others) / batches,
        requestsPerBatch: requests / batches,
        rowsPerBatch: (after.rows - before.rows) / batches,
      }
    }
    const spent = await Promise.race([timed(), loops.then(() => Promise.reject(new Error('the load ended')))])
    end.stopped = true
    await loops
    return spent
  } finally {
    end.stopped = true
    await client.close()
  }
}

/** Waits until all threads of the lane take no less for a request than before: they compile their code while they run. */
async function warmed(server: Server, msMax: number, replies: () => number): Promise<Counters> {
  const costs: number[] = []
  const end = performance.now() + msMax
  let [before, replied] = [await counters(server), replies()]
  while (performance.now() < end && !isWarm(costs)) {
    await sleep(Math.min(windowMs, msMax))
    const [after, now] = [await counters(server), replies()]
    costs.push((after.first + after.others - before.first - before.others) / (now - replied))
    ;[before, replied] = [after, now]
  }
  return before
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

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
