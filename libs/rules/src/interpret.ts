import type { Context, Refusal } from '@millrace/base'
import { NoCell } from './cells'
import { bucketOf, bucketsOf, cellOf, groupSalt, percentAt, shareSalt } from './allocate'
import { describe, holds, valueOf } from './condition'
import { askOverride, refuseOverride, type PlainOverride } from './override'
import {
  attributesOf,
  isCopied,
  rulesFor,
  workflowOf,
  type Canary,
  type Condition,
  type Enrichment,
  type Experiment,
  type Rules,
  type Shadow,
} from './rules'

/** A request as the rules see it, in plain values. */
export interface PlainAsk {
  readonly objective: string
  /** Numbers as their decimal digits; null or empty: none. */
  readonly subject: string | null
  readonly context: Context
  /** Null or left out: it asks for none. */
  readonly override?: PlainOverride | null
  /** When, ms since 1970: canaries ramp. */
  readonly nowMs: number
  /** What another platform says of the subject's cell in an experiment that has an allocator; nobody is asked unless given. */
  readonly cellOf?: (experiment: string) => string | NoCell
}

export interface Decision {
  readonly workflow: string
  /** `default`, or the id of the rule that decided. */
  readonly rule: string
  readonly cell: string | null
}

/** One rule that was asked, and what it said. */
export interface Step {
  readonly rule: string
  readonly kind: 'override' | 'condition' | 'holdout' | 'experiment' | 'canary' | 'default' | 'enrichment' | 'shadow'
  /** It decided; of a holdout: the subject is held out; of an enrichment: it adds to the context; of a shadow: it
   * copies a share of such requests. */
  readonly matched: boolean
  readonly reason: string
  /** Where the subject fell, 0 to 2^32 - 1, where that was looked at. */
  readonly bucket?: number
  readonly cell?: string
  readonly workflow?: string
}

export interface Explanation {
  /** Null for an objective that is not known, and for an override that is refused. */
  readonly decision: Decision | null
  /** Why an override is refused; else null. */
  readonly refusal: Refusal | null
  /** In the order in which they were asked. */
  readonly steps: readonly Step[]
  /** What the workflow that was decided for can see. */
  readonly context: Context
}

/**
 * Decides as the reference tells it, rule by rule, and says why: the explanation, and what the table is tested
 * against. For people and tests; the road asks the table.
 */
export function explain(rules: Rules, ask: PlainAsk): Explanation {
  const { objective } = ask
  if (!Object.hasOwn(rules.objectives, objective))
    return { decision: null, refusal: null, steps: [], context: ask.context }
  const steps: Step[] = []
  let decision: Decision | null = null
  let refusal: Refusal | null = null
  let heldOutBy: string | null = null
  const take = (step: Step, cell: string | null = null): void => {
    if (decision !== null || refusal !== null) {
      const reason = decision === null ? 'the override is refused' : `${decision.rule} decided before it`
      steps.push(no(step.rule, step.kind, reason))
      return
    }
    steps.push(step)
    if (step.matched && step.workflow !== undefined) decision = { workflow: step.workflow, rule: step.rule, cell }
  }

  const asked = ask.override ?? null
  for (const override of rulesFor(rules.overrides, objective)) {
    const { reason, given } = askOverride(rules, override, objective, ask.context, asked)
    const { workflow, cell = null } = given ?? {}
    const step = { rule: override.id, kind: 'override', matched: workflow !== undefined, reason } as const
    take({ ...step, ...(workflow !== undefined && { workflow }), ...(cell !== null && { cell }) }, cell)
  }
  if (asked !== null && decision === null) refusal = refuseOverride(rules, objective, ask.context, asked)

  for (const { id, when, workflow } of rulesFor(rules.conditions, objective)) {
    const matched = holds(when, ask.context, attributesOf(rules))
    const reason = `${matched ? 'it holds' : 'it does not hold'}: ${describe(when)}`
    take({ rule: id, kind: 'condition', matched, reason, ...(matched ? { workflow } : {}) })
  }
  for (const { id, salt, percent } of rulesFor(rules.holdouts, objective)) {
    const step = shareStep({ rule: id, kind: 'holdout' }, ask.subject, salt ?? id, 0, percent, 'held out')
    if (step.matched && decision === null) heldOutBy ??= id
    take(step)
  }
  for (const experiment of rulesFor(rules.experiments, objective)) {
    const step =
      heldOutBy === null
        ? experimentStep(rules, experiment, ask)
        : no(experiment.id, 'experiment', `the subject is held out by ${heldOutBy}`)
    take(step, step.cell ?? null)
  }
  for (const canary of rulesFor(rules.canaries, objective)) take(canaryStep(rules, canary, ask))
  const workflow = rules.objectives[objective]!.default
  take({ rule: 'default', kind: 'default', matched: true, reason: 'no rule before it decided', workflow })
  if (decision === null) return { decision, refusal, steps, context: ask.context }
  const after = [...enrichmentSteps(rules, ask), ...shadowSteps(rules, ask, decision)]
  return { decision, refusal, steps: [...steps, ...after], context: enriched(rules, ask) }
}

/** The enrichments of an objective whose conditions hold, in their order. */
function enrichmentsOf(rules: Rules, ask: PlainAsk): readonly Enrichment[] {
  return rulesFor(rules.enrichments, ask.objective).filter(({ when }) => missed(rules, when, ask) === null)
}

/** What an enrichment sets counts before what the request says; of several, the first. */
function enriched(rules: Rules, ask: PlainAsk): Context {
  const sets = enrichmentsOf(rules, ask).map(({ set }) => set)
  return Object.assign({}, ask.context, ...sets.reverse()) as Context
}

function enrichmentSteps(rules: Rules, ask: PlainAsk): Step[] {
  const having = enrichmentsOf(rules, ask)
  return rulesFor(rules.enrichments, ask.objective).map((one) => {
    const adds = Object.entries(one.set).map(([name, value]) => `${name}=${String(value)}`)
    const why = one.when === undefined ? 'for every request' : `it holds: ${describe(one.when)}`
    if (having.includes(one))
      return { rule: one.id, kind: 'enrichment', matched: true, reason: `sets ${adds.join(', ')}; ${why}` }
    return no(one.id, 'enrichment', missed(rules, one.when, ask)!)
  })
}

/** The shadows that a request is copied to which is answered so; a share of the requests is copied to each. */
export function shadowsOf(rules: Rules, ask: PlainAsk, decision: Decision, draw: number): string[] {
  return rulesFor(rules.shadows, ask.objective)
    .filter((shadow) => notCopied(rules, shadow, ask, decision) === null && draw < bucketsOf(shadow.percent))
    .map(({ id }) => id)
}

/** Why no request like this one is copied, or null. */
function notCopied(rules: Rules, shadow: Shadow, ask: PlainAsk, decision: Decision): string | null {
  const { workflow, answered_by } = shadow
  if (decision.workflow === workflow) return `${workflow} itself answers it`
  if (!isCopied(shadow, decision)) return `it is answered by ${decision.rule}, not by ${answered_by!.join(', ')}`
  return missed(rules, shadow.when, ask)
}

function shadowSteps(rules: Rules, ask: PlainAsk, decision: Decision): Step[] {
  return rulesFor(rules.shadows, ask.objective).map((shadow) => {
    const { id, percent, workflow } = shadow
    const reason = notCopied(rules, shadow, ask, decision)
    if (reason !== null) return no(id, 'shadow', reason)
    return {
      rule: id,
      kind: 'shadow',
      matched: true,
      reason: `${percent} % of such requests are copied to ${workflow}`,
    }
  })
}

function experimentStep(rules: Rules, experiment: Experiment, ask: PlainAsk): Step {
  const { id, when, group, percent, cells, cell_from, allocator } = experiment
  const salt = experiment.salt ?? id
  const reason = missed(rules, when, ask)
  if (reason !== null) return no(id, 'experiment', reason)
  const into = (cell: number, why: string, bucket?: number): Step => ({
    rule: id,
    kind: 'experiment',
    matched: true,
    reason: why,
    ...(bucket === undefined ? {} : { bucket }),
    cell: cells[cell]!.name,
    workflow: workflowOf(rules, experiment, cell, ask.objective),
  })
  const said = cell_from === undefined ? undefined : valueOf(ask.context, cell_from, attributesOf(rules))
  if (said !== undefined) {
    const cell = cells.findIndex(({ name }) => name === said)
    if (cell >= 0) return into(cell, `${cell_from} says cell ${said}`)
    return into(defaultCell(experiment), `${cell_from} says ${said}, which is no cell: the default cell`)
  }
  if (!ask.subject) return no(id, 'experiment', 'the request has no subject')
  if (allocator === true) {
    const said = ask.cellOf === undefined ? NoCell.FAILED : ask.cellOf(id)
    if (said === NoCell.NONE) return no(id, 'experiment', 'the allocator says that the subject takes no part')
    const cell = cells.findIndex(({ name }) => name === said)
    if (cell >= 0) return into(cell, `the allocator says cell ${said}`)
    return into(defaultCell(experiment), `${saidNoCell(said)}: the default cell`)
  }
  if (group !== undefined) {
    const step = shareStep(
      { rule: id, kind: 'experiment' },
      ask.subject,
      groupSalt(group.name),
      group.from,
      group.to,
      `in its part of group ${group.name}`,
    )
    if (!step.matched) return step
  }
  if (percent !== undefined) {
    const step = shareStep({ rule: id, kind: 'experiment' }, ask.subject, shareSalt(salt), 0, percent, 'taking part')
    if (!step.matched) return step
  }
  const bucket = bucketOf(salt, ask.subject)
  const cell = cellOf(bucket, cells)
  return into(cell, `the subject is in cell ${cells[cell]!.name}`, bucket)
}

function saidNoCell(said: string | NoCell): string {
  if (typeof said === 'string') return `the allocator says ${said}, which is no cell`
  return said === NoCell.UNKNOWN
    ? 'the allocator was not asked about this subject yet, which a request waits for'
    : 'no allocator says the cell'
}

/** The cell for subjects whose cell another platform names wrongly, or cannot say. */
export function defaultCell({ cells, default_cell }: Experiment): number {
  return default_cell === undefined ? 0 : cells.findIndex(({ name }) => name === default_cell)
}

function canaryStep(rules: Rules, canary: Canary, ask: PlainAsk): Step {
  const { id, when, workflow, stopped } = canary
  if (stopped !== undefined) return no(id, 'canary', `it was stopped at ${stopped.at}: ${stopped.why}`)
  const reason = missed(rules, when, ask)
  if (reason !== null) return no(id, 'canary', reason)
  const percent = percentAt(canary, ask.nowMs)
  const step = shareStep({ rule: id, kind: 'canary' }, ask.subject, canary.salt ?? id, 0, percent, 'in')
  return step.matched ? { ...step, workflow } : step
}

/** Why a rule is not asked, or null. */
function missed(rules: Rules, when: Condition | undefined, ask: PlainAsk): string | null {
  if (when === undefined || holds(when, ask.context, attributesOf(rules))) return null
  return `it does not hold: ${describe(when)}`
}

function shareStep(
  rule: Pick<Step, 'rule' | 'kind'>,
  subject: string | null,
  salt: string,
  from: number,
  to: number,
  what: string,
): Step {
  if (!subject) return { ...rule, matched: false, reason: 'the request has no subject' }
  const bucket = bucketOf(salt, subject)
  const matched = bucket >= bucketsOf(from) && bucket < bucketsOf(to)
  const at = `${((bucket / 2 ** 32) * 100).toFixed(3)} %`
  const range = from === 0 ? `the first ${to} %` : `${from} % to ${to} %`
  return { ...rule, matched, reason: `the subject, at ${at}, is ${matched ? '' : 'not '}${what}: ${range}`, bucket }
}

function no(rule: string, kind: Step['kind'], reason: string): Step {
  return { rule, kind, matched: false, reason }
}
