import { readDataset } from './dataset'

/** Flights as columns, one value each. */
export interface Flights {
  /** Time of departure, 0 to 24. */
  readonly hour: Float32Array
  /** Miles. */
  readonly distance: Float32Array
  /** 1 when it was `lateFromMin` minutes late or more. */
  readonly late: Float32Array
}

/** US authorities count a flight as late from 15 minutes. */
export const lateFromMin = 15

/** The 200,000 flights of `flights-200k.json`, in the order of the file. */
export function readFlights(): Flights {
  const rows = readDataset('flights-200k.json') as { delay: number; distance: number; time: number }[]
  return {
    hour: Float32Array.from(rows, (row) => row.time),
    distance: Float32Array.from(rows, (row) => row.distance),
    late: Float32Array.from(rows, (row) => Number(row.delay >= lateFromMin)),
  }
}
