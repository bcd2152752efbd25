import { addCounted, latencyOf, type Run } from '@millrace/load'
import { figure, spread, median } from './report'

/** By how much the 99th percentile of runs is above that of others, which they were in turns with. */
export interface P99Ratio {
  /** Of all rounds together: a stall of the machine in one of them is then one of many. */
  readonly together: number
  readonly rounds: readonly number[]
}

export function p99Ratio(runs: readonly Run[], others: readonly Run[]): P99Ratio {
  return {
    together: p99Together(runs) / p99Together(others),
    rounds: runs.map(({ latencyUs }, round) => latencyUs.p99 / others[round]!.latencyUs.p99),
  }
}

/** Of the answers of all runs, microseconds. */
export function p99Together(runs: readonly Run[]): number {
  return latencyOf(addCounted(runs)).p99
}

export function ratioText({ together, rounds }: P99Ratio): string {
  return `${figure(together)}, by round ${figure(median(rounds))} (${spread(rounds)})`
}
