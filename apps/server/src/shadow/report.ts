import { parseRules, type RulesFile } from '@millrace/rules'
import { quantileOf, type HistogramSnapshot } from '../histogram'
import type { Example } from './examples'
import type { OutputSnapshot, ShadowSnapshot } from './snapshot'
import type { CopyOutcome, ShadowLabel } from './tally'

/** The worst requests of one tally, of one lane. */
export interface LaneExamples {
  readonly label: ShadowLabel
  readonly examples: readonly Example[]
}

/** What a shadow's copies of the requests of one rule and version showed, over all lanes. */
export interface ShadowReport {
  readonly shadow: string
  readonly objective: string
  /** Where the copies go: `name@version`. */
  readonly copy: string
  /** What answered the requests, and the rule that decided. */
  readonly primary: string
  readonly rule: string
  /** Of the requests that the rules in force have copied; null where they have none. */
  readonly percent: number | null
  readonly copies: Readonly<Record<CopyOutcome, number>>
  readonly codes: ShadowSnapshot['codes']
  readonly outputs: Readonly<Record<string, OutputReport>>
  readonly not_compared: readonly string[]
  /** Of the batches that answered what was compared. */
  readonly batch: { readonly primary: BatchReport; readonly copy: BatchReport }
  readonly examples: readonly Example[]
}

export interface OutputReport {
  readonly values: number
  /** Of the absolute differences; null where one side had no number, or an infinite one. */
  readonly mean: number | null
  readonly max: number | null
  /** Share of the values. */
  readonly beyond_tolerance: number
  readonly not_finite: number
  /** By request, of outputs that rank its rows: the mean, and what a twentieth of the requests is below. */
  readonly kendall_tau: { readonly mean: number; readonly p05: number } | null
  readonly top_overlap: { readonly mean: number; readonly p05: number } | null
}

interface BatchReport {
  readonly mean_ms: number | null
  readonly p99_ms: number | null
  readonly rows: number | null
}

/** Those of the rules in force first. */
export function shadowReports(
  rules: RulesFile,
  sums: Iterable<ShadowSnapshot>,
  lanes: readonly (readonly LaneExamples[])[],
): ShadowReport[] {
  const percents = new Map(
    (parseRules(rules).shadows ?? []).flatMap(({ id, objectives, workflow, percent }) =>
      objectives.map((objective) => [[id, objective, workflow].join('\n'), percent]),
    ),
  )
  const reports = Array.from(sums, (sum): ShadowReport => {
    const { shadow, objective, primary, rule, outcomes, codes, outputs, apart, batches } = sum
    const copy = `${sum.workflow}@${sum.version}`
    return {
      shadow,
      objective,
      copy,
      primary,
      rule,
      percent: percents.get([shadow, objective, copy].join('\n')) ?? null,
      copies: outcomes,
      codes,
      outputs: Object.fromEntries(Object.entries(outputs).map(([name, output]) => [name, outputReport(output)])),
      not_compared: apart,
      batch: { primary: batchReport(batches.primary), copy: batchReport(batches.copy) },
      examples: worst(lanes, sum),
    }
  })
  return reports.sort((a, b) => Number(a.percent === null) - Number(b.percent === null))
}

function outputReport({ values, beyond, infinite, sum, max, tau, overlap }: OutputSnapshot): OutputReport {
  return {
    values,
    mean: infinite > 0 ? null : sum / values,
    max: infinite > 0 ? null : max,
    beyond_tolerance: beyond / values,
    not_finite: infinite,
    kendall_tau: ranked(tau),
    top_overlap: ranked(overlap),
  }
}

function ranked(histogram: HistogramSnapshot | null): { mean: number; p05: number } | null {
  return histogram === null ? null : { mean: histogram.sum / histogram.count, p05: quantileOf(histogram, 0.05)! }
}

function batchReport({ us, rows }: ShadowSnapshot['batches']['primary']): BatchReport {
  if (us.count === 0) return { mean_ms: null, p99_ms: null, rows: null }
  return { mean_ms: us.sum / us.count / 1000, p99_ms: quantileOf(us, 0.99)! / 1000, rows: rows / us.count }
}

/** Of all lanes; those without a number, of requests that one version failed, come first. */
function worst(lanes: readonly (readonly LaneExamples[])[], of: ShadowLabel): Example[] {
  const own = ({ label }: LaneExamples): boolean =>
    label.objective === of.objective &&
    label.shadow === of.shadow &&
    label.workflow === of.workflow &&
    label.version === of.version &&
    label.primary === of.primary &&
    label.rule === of.rule
  const all = lanes
    .flat()
    .filter(own)
    .flatMap(({ examples }) => examples)
  return all.sort((a, b) => (b.difference ?? Infinity) - (a.difference ?? Infinity))
}
