import type { AttributeKind } from '@millrace/base'
import { z } from 'zod'

/*
 * The language of the rules: data, checked here for its form and in `check.ts` for what it means. Descriptions are
 * what editors show (`rules.schema.json` is made from them); the reference is the README of this room.
 */

const name = z.string().min(1).max(200)
const id = name.describe('Names the rule in replies, metrics and explanations.')
const objectives = z.array(name).min(1).describe('The objectives that the rule is for.')
const percent = z.number().min(0).max(100)
const salt = name.describe('What subjects are hashed with; the id unless given.')
const workflow = z
  .string()
  .regex(/^.+@[1-9][0-9]{0,8}$/, 'is not a workflow version, such as price@1')
  .describe('A workflow version, such as price@1.')

const kind = z.enum(['text', 'number', 'truth'] satisfies AttributeKind[])
const values = z.array(z.union([z.string(), z.number()])).min(1)

const test = z
  .union([
    z.string(),
    z.number(),
    z.boolean(),
    values,
    z
      .strictObject({
        in: values.optional(),
        not_in: values.optional().describe('Also when the request does not have the attribute.'),
        from: z.number().optional().describe('At least this.'),
        below: z.number().optional().describe('Less than this.'),
        present: z.boolean().optional(),
      })
      .refine((one) => Object.keys(one).length > 0, 'asks nothing: give in, not_in, from, below or present'),
  ])
  .describe('A value, a list of values, or in, not_in, from, below, present; all of them hold.')
export type AttributeTest = z.infer<typeof test>

/** Every entry holds: tests of attributes, and `all`, `any`, `not` over further conditions. */
export interface Condition {
  all?: Condition[] | undefined
  any?: Condition[] | undefined
  not?: Condition | undefined
  [attribute: string]: AttributeTest | Condition | Condition[] | undefined
}
const condition: z.ZodType<Condition> = z.lazy(() =>
  z
    .object({
      all: z.array(condition).min(1).optional(),
      any: z.array(condition).min(1).optional(),
      not: condition.optional(),
    })
    .catchall(test)
    .refine((one) => Object.keys(one).length > 0, 'asks nothing'),
) as z.ZodType<Condition>
const when = condition.describe('The rule is only asked where this holds.')

const cell = z.strictObject({
  name,
  weight: z.number().nonnegative(),
  workflow: z
    .union([workflow, z.record(name, workflow)])
    .optional()
    .describe("What runs in this cell: one version, one for each objective, or the objective's default."),
})

const share = z.number().min(0).max(1)
const stop = z.strictObject({
  error_rate_max: share.optional().describe('Share of answers that failed in the server: HTTP would say 5xx.'),
  refusal_rate_max: share.optional().describe("Share of answers that call it the request's fault: HTTP would say 4xx."),
  p99_ratio_max: z.number().positive().optional().describe("99th percentile over that of the objective's default."),
  difference_max: z
    .number()
    .nonnegative()
    .optional()
    .describe('Mean absolute difference of an output from what the default says to the same requests, by a shadow.'),
  difference_rate_max: share
    .optional()
    .describe('Share of the values that differ from those of the default by more than the tolerance of the shadow.'),
  requests_min: z.number().int().positive().default(200).describe('Answers before anything is concluded.'),
  window_s: z.number().min(1).max(86_400).default(60).describe('Seconds that are looked back.'),
})
const stopped = z.strictObject({
  at: z.iso.datetime({ offset: true }).describe('ISO 8601.'),
  why: z.string().max(2000).describe('Which limit was passed, and by how much.'),
})

const step = z.strictObject({ at: z.iso.datetime({ offset: true }).describe('ISO 8601.'), percent })

export const rulesSchema = z.strictObject({
  $schema: z.string().optional(),
  version: z.number().int().nonnegative().optional(),
  attributes: z
    .record(name, kind)
    .optional()
    .describe('Attributes of the context that conditions ask for. tenant, origin and traffic are there always.'),
  objectives: z.record(name, z.strictObject({ default: workflow })),
  conditions: z
    .array(z.strictObject({ id, objectives, when, workflow }))
    .optional()
    .describe('The first whose condition holds decides, before every experiment and canary.'),
  holdouts: z
    .array(z.strictObject({ id, objectives, percent, salt: salt.optional() }))
    .optional()
    .describe('Subjects that take part in no experiment of these objectives.'),
  experiments: z
    .array(
      z.strictObject({
        id,
        objectives,
        when: when.optional(),
        salt: salt.optional(),
        percent: percent.optional().describe('Of the subjects take part; all unless given.'),
        group: z
          .strictObject({ name, from: percent, to: percent })
          .optional()
          .describe('Takes the subjects between two percents of a group: experiments of a group exclude each other.'),
        cell_from: name.optional().describe('Attribute in which another platform says the cell.'),
        allocator: z
          .literal(true)
          .optional()
          .describe('Servers ask the platform of MILLRACE_ALLOCATOR for the cell; weights count for nothing then.'),
        default_cell: name
          .optional()
          .describe('For a cell that another platform names and is not there, or cannot say; the first unless given.'),
        cells: z.array(cell).min(1),
      }),
    )
    .optional(),
  canaries: z
    .array(
      z.strictObject({
        id,
        objectives,
        workflow,
        when: when.optional(),
        salt: salt.optional(),
        percent: percent.optional(),
        ramp: z.array(step).min(1).optional().describe('Percent from each time on; none before the first.'),
        stop: stop.optional().describe('The canary is taken off when one of these is passed.'),
        stopped: stopped.optional().describe('Nobody gets the canary: written by a server that took it off.'),
      }),
    )
    .optional(),
  shadows: z
    .array(
      z.strictObject({
        id,
        objectives,
        workflow,
        when: when.optional(),
        answered_by: z
          .array(name)
          .min(1)
          .optional()
          .describe('Only requests that one of these rules decided; default is one of them. All unless given.'),
        percent: percent.describe('Of the requests are copied.'),
        tolerance: z.number().nonnegative().default(1e-6).describe('Differences up to this are none.'),
        ranking: name
          .optional()
          .describe(
            'Output that ranks the rows of a request, highest first; each float output of the rows unless given.',
          ),
        top_k: z.number().int().positive().default(10).describe('Rows of a ranking whose overlap is counted.'),
        in_flight_max: z.number().int().positive().default(256).describe('Copies that may wait; more are dropped.'),
        keep_examples: z.boolean().default(true).describe('Whether worst examples are kept; off for private data.'),
      }),
    )
    .optional(),
  overrides: z
    .array(
      z.strictObject({
        id,
        objectives,
        when: when.describe('Who may: a condition on tenant, for instance.'),
        workflows: z.array(workflow).optional().describe('Versions that may be asked for.'),
        experiments: z.array(name).optional().describe('Experiments whose cells may be asked for.'),
      }),
    )
    .optional(),
  enrichments: z
    .array(
      z.strictObject({
        id,
        objectives,
        when: when.optional(),
        set: z
          .record(name, z.union([z.string(), z.number(), z.boolean()]))
          .describe('Attributes that workflows then see.'),
      }),
    )
    .optional(),
  limits: z
    .array(
      z.strictObject({
        id,
        objectives: objectives.optional().describe('Together; all of them unless given.'),
        tenant: name
          .optional()
          .describe('Whose requests: one tenant, or * for each of them by itself; all together unless given.'),
        requests_per_second: z.number().positive().optional(),
        burst: z
          .number()
          .int()
          .positive()
          .optional()
          .describe('Requests that may come at once; as many as a second brings unless given.'),
        requests_in_flight: z.number().int().positive().optional().describe('Accepted and not answered.'),
      }),
    )
    .optional()
    .describe('What is above one of them is refused with RESOURCE_EXHAUSTED.'),
})

/** A rules file, read: with the defaults of its fields. */
export type Rules = z.infer<typeof rulesSchema>
/** A rules file as it is written. */
export type RulesFile = z.input<typeof rulesSchema>

export type Experiment = NonNullable<Rules['experiments']>[number]
export type Canary = NonNullable<Rules['canaries']>[number]
export type Override = NonNullable<Rules['overrides']>[number]
export type Enrichment = NonNullable<Rules['enrichments']>[number]
export type Limit = NonNullable<Rules['limits']>[number]
export type Shadow = NonNullable<Rules['shadows']>[number]

/** Attributes that every request has a place for: who asks, from where, and what for. */
export const givenAttributes: Readonly<Record<string, AttributeKind>> = {
  tenant: 'text',
  origin: 'text',
  traffic: 'text',
}

/** The declared attributes of a context, with those that are always there. */
export function attributesOf(rules: Rules): Readonly<Record<string, AttributeKind>> {
  return { ...rules.attributes, ...givenAttributes }
}

/** What runs in a cell for an objective. */
export function workflowOf(rules: Rules, experiment: Experiment, cell: number, objective: string): string {
  const { workflow } = experiment.cells[cell]!
  const own =
    typeof workflow !== 'object' ? workflow : Object.hasOwn(workflow, objective) ? workflow[objective] : undefined
  return own ?? rules.objectives[objective]!.default
}

/** Rules of one kind that are for an objective, in their order. */
export function rulesFor<R extends { readonly objectives: readonly string[] }>(
  rules: readonly R[] | undefined,
  objective: string,
): readonly R[] {
  if (rules === undefined) return []
  let byObjective = indexes.get(rules)
  if (byObjective === undefined) indexes.set(rules, (byObjective = indexOf(rules)))
  return (byObjective.get(objective) ?? []) as readonly R[]
}

/** Of lists that were asked: with thousands of objectives each of them would look through thousands of rules. */
const indexes = new WeakMap<readonly unknown[], ReadonlyMap<string, readonly unknown[]>>()

function indexOf(rules: readonly { readonly objectives: readonly string[] }[]): Map<string, unknown[]> {
  const byObjective = new Map<string, unknown[]>()
  for (const rule of rules)
    for (const objective of new Set(rule.objectives)) {
      const known = byObjective.get(objective)
      if (known === undefined) byObjective.set(objective, [rule])
      else known.push(rule)
    }
  return byObjective
}

/** The experiments of an objective that have a cell of this name. */
export function experimentsWith(rules: Rules, objective: string, cell: string): readonly Experiment[] {
  return rulesFor(rules.experiments, objective).filter(({ cells }) => cells.some(({ name }) => name === cell))
}

/** Canaries that were not taken off. */
export function runningCanaries(rules: Rules): readonly Canary[] {
  return (rules.canaries ?? []).filter(({ stopped }) => stopped === undefined)
}

/** What a request for an objective can be answered by: each rule with each version that it decides for. */
export function answersOf(
  rules: Rules,
  objective: string,
): readonly { readonly rule: string; readonly workflow: string }[] {
  const experiments = rulesFor(rules.experiments, objective)
  const cells = experiments.map((experiment) => ({
    id: experiment.id,
    workflows: experiment.cells.map((_, c) => workflowOf(rules, experiment, c, objective)),
  }))
  return [
    ...rulesFor(rules.overrides, objective).flatMap(({ id, workflows = [], experiments: named = [] }) => [
      ...workflows.map((workflow) => ({ rule: id, workflow })),
      ...cells
        .filter((one) => named.includes(one.id))
        .flatMap((one) => one.workflows.map((workflow) => ({ rule: id, workflow }))),
    ]),
    ...[rules.conditions, rules.canaries].flatMap((list) =>
      rulesFor<{ id: string; objectives: string[]; workflow: string }>(list, objective).map(({ id, workflow }) => ({
        rule: id,
        workflow,
      })),
    ),
    ...cells.flatMap(({ id, workflows }) => workflows.map((workflow) => ({ rule: id, workflow }))),
    { rule: 'default', workflow: rules.objectives[objective]!.default },
  ]
}

/** Whether a shadow copies a request that this rule and version answer: never to the version that answered it. */
export function isCopied(
  { answered_by, workflow }: Pick<Shadow, 'workflow'> & { readonly answered_by?: readonly string[] | undefined },
  answer: { readonly rule: string; readonly workflow: string },
): boolean {
  return answer.workflow !== workflow && (answered_by === undefined || answered_by.includes(answer.rule))
}

/** The shadows that show how a canary's answers differ: the objective's default answers its requests too. */
export function comparingShadows(rules: Rules, { id, workflow }: Canary, objective: string): readonly Shadow[] {
  const other = rules.objectives[objective]!.default
  return rulesFor(rules.shadows, objective).filter(
    (shadow) => shadow.workflow === other && isCopied(shadow, { rule: id, workflow }),
  )
}

/** Every workflow version that a file has requests answered by, with its place in the file. */
export function referencesOf(rules: Rules): [path: string, reference: string][] {
  const references = Object.entries(rules.objectives).map(([objective, one]): [string, string] => [
    `$.objectives.${objective}.default`,
    one.default,
  ])
  const add = (path: string, workflow: string | undefined): void =>
    void (workflow === undefined || references.push([path, workflow]))
  rules.conditions?.forEach(({ workflow }, i) => add(`$.conditions[${i}].workflow`, workflow))
  rules.canaries?.forEach(({ workflow, stopped }, i) => {
    if (stopped === undefined) add(`$.canaries[${i}].workflow`, workflow)
  })
  rules.shadows?.forEach(({ workflow }, i) => add(`$.shadows[${i}].workflow`, workflow))
  rules.experiments?.forEach(({ cells }, i) =>
    cells.forEach(({ workflow }, c) => {
      const path = `$.experiments[${i}].cells[${c}].workflow`
      if (typeof workflow !== 'object') add(path, workflow)
      else for (const [objective, own] of Object.entries(workflow)) add(`${path}.${objective}`, own)
    }),
  )
  rules.overrides?.forEach(({ workflows }, i) =>
    workflows?.forEach((workflow, w) => add(`$.overrides[${i}].workflows[${w}]`, workflow)),
  )
  return references
}

/** Every workflow version that a file names, once, in order of appearance. */
export function versionsNamed(rules: Rules): { name: string; version: number }[] {
  return [...new Set(referencesOf(rules).map(([, reference]) => reference))].map((reference) => {
    const at = reference.lastIndexOf('@')
    return { name: reference.slice(0, at), version: Number(reference.slice(at + 1)) }
  })
}
