import { Code, Refusal, type Context } from '@millrace/base'
import { describe, holds } from './condition'
import { attributesOf, experimentsWith, rulesFor, workflowOf, type Override, type Rules } from './rules'

/** A version or a cell, asked for against the rules. */
export type PlainOverride =
  | { readonly workflow: string; readonly version: number }
  /** `experiment` where several of the objective have a cell of that name. */
  | { readonly cell: string; readonly experiment?: string | undefined }

/** What an override rule says to a request. */
export interface OverrideAnswer {
  readonly reason: string
  /** What it gives; null where it does not allow what is asked for. */
  readonly given: { readonly workflow: string; readonly cell: string | null } | null
}

/** As the reference tells it: what the table is checked against and explained by. */
export function askOverride(
  rules: Rules,
  override: Override,
  objective: string,
  context: Context,
  asked: PlainOverride | null,
): OverrideAnswer {
  if (asked === null) return { reason: 'the request asks for no override', given: null }
  if (!holds(override.when, context, attributesOf(rules)))
    return { reason: `it does not hold: ${describe(override.when)}`, given: null }
  const given = givenBy(rules, override, objective, asked)
  if (given === null) return { reason: `it allows ${allowedBy(rules, override, objective)}`, given }
  return { reason: `it allows ${named(asked)}, and holds: ${describe(override.when)}`, given }
}

/** Overrides that a refusal names. */
const namedMax = 5

/** Why a request that asks for an override gets none: what each override rule of its objective says to it. */
export function refuseOverride(rules: Rules, objective: string, context: Context, asked: PlainOverride): Refusal {
  if ('cell' in asked && !asked.experiment) {
    const ids = experimentsWith(rules, objective, asked.cell).map(({ id }) => id)
    if (ids.length > 1)
      return new Refusal(
        Code.INVALID_ARGUMENT,
        `override.experiment: cell ${asked.cell} is in ${ids.join(', ')}; name one of them`,
      )
  }
  const overrides = rulesFor(rules.overrides, objective)
  const answers = overrides
    .slice(0, namedMax)
    .map((override) => `rule ${override.id}: ${askOverride(rules, override, objective, context, asked).reason}`)
  if (overrides.length > namedMax) answers.push(`${overrides.length - namedMax} more`)
  const said = answers.length === 0 ? `the rules have no override for ${objective}` : answers.join('; ')
  return new Refusal(Code.PERMISSION_DENIED, `override: ${named(asked)} is not allowed: ${said}`)
}

function givenBy(rules: Rules, override: Override, objective: string, asked: PlainOverride): OverrideAnswer['given'] {
  if ('version' in asked) {
    const workflow = `${asked.workflow}@${asked.version}`
    return override.workflows?.includes(workflow) === true ? { workflow, cell: null } : null
  }
  const having = experimentsWith(rules, objective, asked.cell)
  const meant = asked.experiment ? having.filter(({ id }) => id === asked.experiment) : having
  const [experiment] = meant
  if (experiment === undefined || meant.length > 1 || override.experiments?.includes(experiment.id) !== true)
    return null
  const cell = experiment.cells.findIndex(({ name }) => name === asked.cell)
  return { workflow: workflowOf(rules, experiment, cell, objective), cell: asked.cell }
}

/** `price@2, cells of network`: for people. */
function allowedBy(rules: Rules, override: Override, objective: string): string {
  const experiments = rulesFor(rules.experiments, objective).filter(({ id }) => override.experiments?.includes(id))
  const allowed = [...(override.workflows ?? []), ...experiments.map(({ id }) => `cells of ${id}`)]
  return allowed.length === 0 ? `nothing for ${objective}` : allowed.join(', ')
}

/** What a request says may be long. */
function named(asked: PlainOverride): string {
  if ('version' in asked) return `${asked.workflow.slice(0, 100)}@${asked.version}`
  return `cell ${asked.cell.slice(0, 100)}${asked.experiment ? ` of ${asked.experiment.slice(0, 100)}` : ''}`
}
