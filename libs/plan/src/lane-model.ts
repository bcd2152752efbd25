import type { Service } from './service'

/*
 * A lane as the simulation knows it: a front thread that takes turns, queues of batches, pool threads. Times are
 * microseconds of CPU at full speed unless they are said to be waits.
 */

/** Requests that cost alike: an objective, its rows, how it comes. */
export interface RequestClass {
  /** Of all requests; shares of a lane's classes add to 1. */
  readonly share: number
  /** Index of the queue that its rows wait in. */
  readonly queue: number
  readonly rows: number
  /** Of the front thread, rows included; half of it for the way in, half for the way back. */
  readonly requestUs: number
  /** Of the front thread for what came on one connection in one turn, and for the replies to it. */
  readonly readUs: number
}

/** Where the rows of one workflow version wait. */
export interface QueueModel {
  readonly rowsMax: number
  readonly service: Service
}

export interface LaneModel {
  /** CPUs that its threads share; as many as threads, or more: none waits for another. */
  readonly cores: number
  readonly threads: number
  /** Batches that one thread holds. */
  readonly inFlight: number
  /** Connections that requests come on, evenly. */
  readonly connections: number
  /** Of the front thread for handing a batch over and for taking it back. */
  readonly batchUs: number
  /** Of a pool thread for a batch, besides its service. */
  readonly workerBatchUs: number
  /** Wait until a thread that sleeps runs. */
  readonly wakeUs: number
  /** Rows that may wait in a queue; beyond that requests are refused. */
  readonly queueRowsMax: number
  readonly queues: readonly QueueModel[]
  readonly classes: readonly RequestClass[]
}

/** What else is on the CPUs of a lane that is measured by a load on the same machine. */
export interface Neighbours {
  /** The load: a thread that takes turns as the front thread does; it sends what is due and reads what came. */
  readonly load: {
    /** For a request that it sends, and whose reply it reads. */
    readonly requestUs: number
    /** It does not sleep while it waits. */
    readonly spins: boolean
  }
  /** Threads of other programs that wanted a CPU, counted every `othersEveryUs`; over and over. */
  readonly others: readonly number[]
  readonly othersEveryUs: number
}

/** Turns of the front thread that bring requests before these are dispatched: `apps/server/src/road.ts`. */
export const turnsMax = 8

const { exp, log1p, min } = Math

/** How many of `connections` have one or more of `n` requests, each on any of them: the mean. */
export function connectionsOf(n: number, connections: number): number {
  if (n <= 1 || connections === 1) return min(1, n)
  return connections * (1 - exp(n * log1p(-1 / connections)))
}

/** Requests a microsecond that a lane answers at most: batches full, every thread at work. By the utilisation law. */
export function capacityBound(model: LaneModel): number {
  let front = 0
  let pool = 0
  for (const { share, queue, rows, requestUs } of model.classes) {
    const { rowsMax, service } = model.queues[queue]!
    const batches = rows / rowsMax
    front += share * (requestUs + batches * model.batchUs)
    pool += share * batches * (service.mean(rowsMax) + model.workerBatchUs)
  }
  return Math.min(1 / front, model.threads / pool, model.cores / (front + pool))
}
