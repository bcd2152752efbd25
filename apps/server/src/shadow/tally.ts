import { Buckets, codeNames, latencyBoundsUs, type Code } from '@millrace/base'
import type { Difference } from './compare'
import { Examples } from './examples'

/** What became of a copy. All but the first two were dropped, the primary being answered as if there were no shadow. */
export const copyOutcomes = [
  /** Both versions answered. */
  'compared',
  /** One of them, or both, answered with a code that is not OK. */
  'failed',
  /** Whoever sent the request was gone. */
  'cancelled',
  /** As many as `in_flight_max` waited already. */
  'limit',
  /** The shared memory was wanted by primaries, or nearly. */
  'memory',
  /** The version was not ready on the lane. */
  'not_ready',
  /** The version had ended threads, and rests. */
  'paused',
  /** No thread had time for it. */
  'late',
  /** The thread that ran it ended, or was ended because it took too long. */
  'lost',
] as const
export type CopyOutcome = (typeof copyOutcomes)[number]

/** What copies are told apart by. */
export interface ShadowLabel {
  readonly objective: string
  /** The id of the shadow. */
  readonly shadow: string
  /** Where the copies go. */
  readonly workflow: string
  readonly version: number
  /** What answered the requests: `name@version`, and the rule that decided. */
  readonly primary: string
  readonly rule: string
}

/** Of a request, the largest absolute difference of an output. */
const differenceBounds: readonly number[] = [0, ...Array.from({ length: 16 }, (_, i) => Number(`1e${i - 9}`))]
const tauBounds = Array.from({ length: 20 }, (_, i) => Number((-0.9 + i / 10).toFixed(1)))
const overlapBounds = Array.from({ length: 11 }, (_, i) => i / 10)

/** One output's differences, over requests; nothing goes back. */
export class OutputTally {
  values = 0
  beyond = 0
  infinite = 0
  sum = 0
  max = 0
  /** By request without infinite ones, its largest. */
  readonly differences = new Buckets(differenceBounds)
  /** Null until the output ranked something. */
  tau: Buckets | null = null
  overlap: Buckets | null = null

  add({ values, beyond, infinite, sum, max, tau, overlap }: Difference): void {
    this.values += values
    this.beyond += beyond
    this.infinite += infinite
    this.sum += sum
    this.max = Math.max(this.max, max)
    if (infinite === 0) this.differences.observe(max)
    if (!Number.isNaN(tau)) (this.tau ??= new Buckets(tauBounds)).observe(tau)
    if (!Number.isNaN(overlap)) (this.overlap ??= new Buckets(overlapBounds)).observe(overlap)
  }
}

/** Microseconds and rows of the batches that answered a request and its copy. */
interface Ran {
  readonly primaryUs: number
  readonly primaryRows: number
  readonly us: number
  readonly batchRows: number
}

/** What one shadow's copies of the requests of one rule and version showed. */
export class ShadowTally {
  /** By `copyOutcomes`. */
  readonly outcomes = new Float64Array(copyOutcomes.length)
  /** By the primary's code and the copy's. */
  readonly codes = new Map<number, number>()
  readonly outputs = new Map<string, OutputTally>()
  /** Outputs that are not compared, and why. */
  apart: readonly string[] = []
  /** Microseconds that the batches took on their threads, which answered what was compared. */
  readonly primaryUs = new Buckets(latencyBoundsUs)
  readonly copyUs = new Buckets(latencyBoundsUs)
  /** Rows of those batches, by what was compared. */
  primaryRows = 0
  copyRows = 0
  readonly examples = new Examples()

  constructor(readonly label: ShadowLabel) {}

  count(outcome: CopyOutcome): void {
    this.outcomes[copyOutcomes.indexOf(outcome)]!++
  }

  /** Both answered: what their batches took. */
  ran({ primaryUs, primaryRows, us, batchRows }: Ran): void {
    this.primaryUs.observe(primaryUs)
    this.primaryRows += primaryRows
    this.copyUs.observe(us)
    this.copyRows += batchRows
  }

  answered(primary: Code, copy: Code): void {
    const key = primary * codeNames.length + copy
    this.codes.set(key, (this.codes.get(key) ?? 0) + 1)
  }

  output(name: string): OutputTally {
    let output = this.outputs.get(name)
    if (output === undefined) this.outputs.set(name, (output = new OutputTally()))
    return output
  }
}

/** The tallies of a lane, whatever rules were in force. */
export class ShadowTallies {
  private readonly byLabel = new Map<string, ShadowTally>()

  get all(): readonly ShadowTally[] {
    return [...this.byLabel.values()]
  }

  of(label: ShadowLabel): ShadowTally {
    const { objective, shadow, workflow, version, primary, rule } = label
    const key = JSON.stringify([objective, shadow, workflow, version, primary, rule])
    let tally = this.byLabel.get(key)
    if (tally === undefined) this.byLabel.set(key, (tally = new ShadowTally(label)))
    return tally
  }

  /** Forgets what has to do with a version that is gone. */
  release(workflow: string, version: number): void {
    for (const [key, { label }] of this.byLabel)
      if ((label.workflow === workflow && label.version === version) || label.primary === `${workflow}@${version}`)
        this.byLabel.delete(key)
  }
}
