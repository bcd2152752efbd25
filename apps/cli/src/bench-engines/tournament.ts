import type { Contestant } from './contestant'
import { median } from './median'
import type { Measured } from './protocol'

/** Microseconds a row over the rounds, at one batch size. */
export interface Figure {
  readonly rows: number
  readonly median: number
  readonly least: number
  readonly most: number
  /** Of the median, in models. */
  readonly inModels: number
  readonly batches: number
}

export interface Plan {
  readonly rounds: number
  /** Of one engine at one batch size in one round. */
  readonly ms: number
  /** A batch size whose batch would take longer is left out. */
  readonly batchMsMax: number
}

/**
 * Measures every contestant at every batch size, in rounds: what the machine does meanwhile falls on all of them alike.
 * Within a round the sizes come in order and the contestants take turns, in turned order every second round. The first
 * round warms and is not counted.
 */
export async function measureAll(
  contestants: readonly Pick<Contestant, 'engine' | 'measure'>[],
  sizes: readonly number[],
  plan: Plan,
  onRound: (round: number) => void,
): Promise<Map<string, Figure[]>> {
  const measured = new Map(contestants.map(({ engine }) => [engine, new Map<number, Measured[]>()]))
  for (let round = 0; round <= plan.rounds; round++) {
    onRound(round)
    const order = round % 2 === 0 ? contestants : [...contestants].reverse()
    for (const [s, rows] of sizes.entries())
      for (const contestant of order) {
        const bySize = measured.get(contestant.engine)!
        if (round === 0 && tooSlow(bySize, sizes[s - 1], rows, plan)) continue
        if (round > 0 && !bySize.has(rows)) continue
        const ms = round === 0 ? plan.ms / 4 : plan.ms
        const one = await contestant.measure({ rows, ms })
        if (round === 0) bySize.set(rows, [one])
        else if (round === 1) bySize.set(rows, [one])
        else bySize.get(rows)!.push(one)
      }
  }
  return new Map(
    [...measured].map(([engine, bySize]) => [engine, [...bySize].map(([rows, all]) => figureOf(rows, all))]),
  )
}

/** By what the next smaller size took a row; a size is also left out when the one before it was. */
function tooSlow(
  bySize: ReadonlyMap<number, readonly Measured[]>,
  before: number | undefined,
  rows: number,
  { batchMsMax }: Plan,
): boolean {
  if (before === undefined) return false
  const smaller = bySize.get(before)
  return smaller === undefined || (smaller[0]!.batchUs / before) * rows > batchMsMax * 1000
}

function figureOf(rows: number, all: readonly Measured[]): Figure {
  const us = all.map(({ batchUs }) => batchUs / rows)
  return {
    rows,
    median: median(us),
    least: Math.min(...us),
    most: Math.max(...us),
    inModels: median(all.map(({ modelUs }) => modelUs / rows)),
    batches: all.reduce((sum, { batches }) => sum + batches, 0),
  }
}

/**
 * How many times longer than the fastest an engine takes for a row, the geometric mean over the batch sizes that all were
 * measured at; 1 is fastest throughout.
 */
export function slowness(figures: ReadonlyMap<string, readonly Figure[]>): Map<string, number> {
  const shared = [...figures.values()]
    .map((all) => all.map(({ rows }) => rows))
    .reduce((left, right) => left.filter((rows) => right.includes(rows)))
  const at = (engine: string, rows: number): number => figures.get(engine)!.find((one) => one.rows === rows)!.median
  return new Map(
    [...figures.keys()].map((engine) => {
      const logs = shared.map((rows) =>
        Math.log(at(engine, rows) / Math.min(...[...figures.keys()].map((other) => at(other, rows)))),
      )
      return [engine, Math.exp(logs.reduce((sum, one) => sum + one, 0) / Math.max(1, logs.length))]
    }),
  )
}
