import { codeNames, type CodeName } from '@millrace/base'
import { addHistograms, histogramOf, type HistogramSnapshot } from '../histogram'
import { copyOutcomes, type CopyOutcome, type OutputTally, type ShadowLabel, type ShadowTally } from './tally'

/** How an output's values differed. */
export interface OutputSnapshot {
  /** Compared; those that differ by more than the tolerance; those of them that are no number on one side. */
  readonly values: number
  readonly beyond: number
  readonly infinite: number
  /** Of the finite absolute differences. */
  readonly sum: number
  readonly max: number
  readonly differences: HistogramSnapshot
  readonly tau: HistogramSnapshot | null
  readonly overlap: HistogramSnapshot | null
}

/** What a shadow's copies showed, since the lane's start: plain numbers. */
export interface ShadowSnapshot extends ShadowLabel {
  readonly outcomes: Readonly<Record<CopyOutcome, number>>
  readonly codes: readonly { readonly primary: CodeName; readonly copy: CodeName; readonly count: number }[]
  readonly outputs: Readonly<Record<string, OutputSnapshot>>
  readonly apart: readonly string[]
  /** Microseconds of the batches that answered what was compared, and their rows, by what was compared. */
  readonly batches: Readonly<Record<'primary' | 'copy', { readonly us: HistogramSnapshot; readonly rows: number }>>
}

export function snapshotOfTally(tally: ShadowTally): ShadowSnapshot {
  const { label, outcomes, codes, outputs, apart, primaryUs, primaryRows, copyUs, copyRows } = tally
  return {
    ...label,
    outcomes: Object.fromEntries(copyOutcomes.map((name, i) => [name, outcomes[i]!])) as Record<CopyOutcome, number>,
    codes: [...codes].map(([key, count]) => ({
      primary: codeNames[Math.floor(key / codeNames.length)]!,
      copy: codeNames[key % codeNames.length]!,
      count,
    })),
    outputs: Object.fromEntries([...outputs].map(([name, output]) => [name, snapshotOfOutput(output)])),
    apart,
    batches: {
      primary: { us: histogramOf(primaryUs), rows: primaryRows },
      copy: { us: histogramOf(copyUs), rows: copyRows },
    },
  }
}

function snapshotOfOutput({ differences, tau, overlap, ...sums }: OutputTally): OutputSnapshot {
  const { values, beyond, infinite, sum, max } = sums
  return {
    values,
    beyond,
    infinite,
    sum,
    max,
    differences: histogramOf(differences),
    tau: tau === null ? null : histogramOf(tau),
    overlap: overlap === null ? null : histogramOf(overlap),
  }
}

/** Two lanes, or two starts of one, together. */
export function addShadows(a: ShadowSnapshot, b: ShadowSnapshot): ShadowSnapshot {
  const codes = new Map([...a.codes, ...b.codes].map((one) => [`${one.primary} ${one.copy}`, { ...one, count: 0 }]))
  for (const one of [...a.codes, ...b.codes]) codes.get(`${one.primary} ${one.copy}`)!.count += one.count
  return {
    ...a,
    outcomes: Object.fromEntries(
      copyOutcomes.map((name) => [name, a.outcomes[name] + b.outcomes[name]]),
    ) as ShadowSnapshot['outcomes'],
    codes: [...codes.values()],
    outputs: Object.fromEntries(
      [...new Set([...Object.keys(a.outputs), ...Object.keys(b.outputs)])].map((name) => [
        name,
        addOutputs(a.outputs[name], b.outputs[name]),
      ]),
    ),
    apart: a.apart.length > 0 ? a.apart : b.apart,
    batches: { primary: addBatches('primary'), copy: addBatches('copy') },
  }

  function addBatches(side: 'primary' | 'copy'): ShadowSnapshot['batches']['primary'] {
    const [one, other] = [a.batches[side], b.batches[side]]
    return { us: addHistograms(one.us, other.us), rows: one.rows + other.rows }
  }
}

function addOutputs(a: OutputSnapshot | undefined, b: OutputSnapshot | undefined): OutputSnapshot {
  if (a === undefined || b === undefined) return (a ?? b)!
  return {
    values: a.values + b.values,
    beyond: a.beyond + b.beyond,
    infinite: a.infinite + b.infinite,
    sum: a.sum + b.sum,
    max: Math.max(a.max, b.max),
    differences: addHistograms(a.differences, b.differences),
    tau: addSome(a.tau, b.tau),
    overlap: addSome(a.overlap, b.overlap),
  }
}

function addSome(a: HistogramSnapshot | null, b: HistogramSnapshot | null): HistogramSnapshot | null {
  return a === null || b === null ? (a ?? b) : addHistograms(a, b)
}
