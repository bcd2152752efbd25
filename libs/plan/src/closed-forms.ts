/*
 * What is known of queues without simulating them. Rates are a microsecond, times microseconds; a request is a row.
 * Each has its source beside it; the simulation is tested against all of them.
 */

/** Erlang's C: the share of requests that wait in M/M/c at `load` = arrival rate x mean service (A. K. Erlang, 1917). */
export function erlangC(load: number, servers: number): number {
  // Erlang's B by its recursion, which does not overflow.
  let b = 1
  for (let n = 1; n <= servers; n++) b = (load * b) / (n + load * b)
  return b / (1 - (load / servers) * (1 - b))
}

/** Mean wait in M/M/c. */
export function waitMMc(rate: number, meanUs: number, servers: number): number {
  return (erlangC(rate * meanUs, servers) * meanUs) / (servers - rate * meanUs)
}

/** Time in M/M/1 that the share `q` of requests stays below: exponential with the mean s / (1 - rho). */
export function responseQuantileMM1(rate: number, meanUs: number, q: number): number {
  return (-Math.log(1 - q) * meanUs) / (1 - rate * meanUs)
}

/** Mean wait in M/G/1 (Pollaczek and Khinchine, 1930 and 1932); `cv2` is variance over squared mean, 0 for M/D/1. */
export function waitMG1(rate: number, meanUs: number, cv2: number): number {
  const rho = rate * meanUs
  return ((rho * meanUs) / (1 - rho)) * ((1 + cv2) / 2)
}

/**
 * Mean wait in GI/G/c, approximately: M/M/c times the mean of both squared variations (Allen and Cunneen, in
 * A. O. Allen, Probability, Statistics and Queueing Theory, 1978; for one server Kingman's 1961 bound in heavy traffic).
 */
export function waitAllenCunneen(
  rate: number,
  meanUs: number,
  servers: number,
  arrivalCv2: number,
  serviceCv2: number,
): number {
  return (waitMMc(rate, meanUs, servers) * (arrivalCv2 + serviceCv2)) / 2
}

/** One server that takes all that waits, at least one, and needs `us` for it however much it is. */
export interface TakeAll {
  readonly meanUs: number
  quantile(q: number): number
}

/**
 * Its times from arrival to answer. A request finds the server at work with probability a / (a + e^-a), a = rate x us,
 * since a cycle is a run and, when nobody came during it, a wait for somebody; then it stays for what is left of the run,
 * uniform, and for a run of its own.
 */
export function takeAll(rate: number, us: number): TakeAll {
  const arrivals = rate * us
  const finds = arrivals / (arrivals + Math.exp(-arrivals))
  return {
    meanUs: us + (finds * us) / 2,
    quantile: (q) => (q <= 1 - finds ? us : us + ((q - (1 - finds)) / finds) * us),
  }
}

export interface Bulk {
  /** From arrival to answer. */
  readonly meanUs: number
  readonly batchRows: number
  readonly utilisation: number
}

/**
 * One server that takes up to `rowsMax` of what waits, at least one, and needs `us(rows)` for it: the bulk queue of
 * N. T. J. Bailey (1954) with M. F. Neuts's rule that a server does not run empty (1967), solved by the chain of how many
 * wait when a batch is done. The mean number in the queue comes from that by integration over a cycle, the mean wait by
 * Little's law (1961). Exact but for the chain's end: `statesMax` wait at most.
 */
export function bulkQueue(rate: number, us: (rows: number) => number, rowsMax: number, statesMax = 20 * rowsMax): Bulk {
  const takenOf = (waiting: number): number => Math.min(Math.max(waiting, 1), rowsMax)
  const arrivalsIn = Array.from({ length: rowsMax + 1 }, (_, rows) => (rows === 0 ? [] : poisson(rate * us(rows))))
  let state = new Float64Array(statesMax + 1)
  state[0] = 1
  for (let round = 0; round < 100_000; round++) {
    const next = new Float64Array(statesMax + 1)
    for (let waiting = 0; waiting <= statesMax; waiting++) {
      const p = state[waiting]!
      if (p < 1e-16) continue
      const left = Math.max(waiting, 1) - takenOf(waiting)
      const arrivals = arrivalsIn[takenOf(waiting)]!
      for (let n = 0; n < arrivals.length; n++) next[Math.min(statesMax, left + n)]! += p * arrivals[n]!
    }
    const moved = next.reduce((sum, p, i) => sum + Math.abs(p - state[i]!), 0)
    state = next
    if (moved < 1e-12) break
  }
  let [cycle, run, queued, rows, served] = [0, 0, 0, 0, 0]
  for (let waiting = 0; waiting <= statesMax; waiting++) {
    const p = state[waiting]!
    const taken = takenOf(waiting)
    const time = us(taken)
    run += p * time
    cycle += p * (time + (waiting === 0 ? 1 / rate : 0))
    queued += p * ((Math.max(waiting, 1) - taken) * time + (rate * time * time) / 2)
    rows += p * taken
    served += p * taken * time
  }
  return { meanUs: queued / cycle / rate + served / rows, batchRows: rows, utilisation: run / cycle }
}

/** Probabilities of 0, 1, 2 ... events, until nearly all is there. */
function poisson(mean: number): number[] {
  const most = Math.ceil(mean + 12 * Math.sqrt(mean) + 20)
  const logs = [-mean]
  for (let n = 1; n <= most; n++) logs.push(logs[n - 1]! + Math.log(mean / n))
  return logs.map(Math.exp)
}
