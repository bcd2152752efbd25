import type { Ask } from './table'

/** Instead of a cell. */
export const NoCell = {
  /** The subject takes no part. */
  NONE: 0,
  /** The platform was not asked about the subject yet: ask it, then look up again. */
  UNKNOWN: 1,
  /** It cannot say: the default cell decides. */
  FAILED: 2,
} as const
export type NoCell = (typeof NoCell)[keyof typeof NoCell]

/** What another platform says of a subject's cells, asked while a request is looked up. */
export interface CellSource {
  /** The name of the subject's cell, or what of `NoCell` there is instead. */
  cellOf(experiment: string, ask: Ask): string | NoCell
}

/** For those who ask nobody. */
export const noCells: CellSource = { cellOf: () => NoCell.FAILED }

/** An experiment whose cells another platform says. */
export interface AskedExperiment {
  readonly experiment: string
  /** By the name of the cell. */
  readonly routes: ReadonlyMap<string, number>
}
