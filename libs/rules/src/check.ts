import { kindOf, type AttributeKind } from '@millrace/base'
import { plainTest, testsOf, type PlainTest } from './condition'
import { slotsMax } from './program'
import {
  answersOf,
  attributesOf,
  comparingShadows,
  givenAttributes,
  isCopied,
  referencesOf,
  rulesSchema,
  type Condition,
  type Rules,
} from './rules'

export class RulesError extends Error {
  /** @param problems each with its path in the file */
  constructor(readonly problems: readonly string[]) {
    super(`the rules do not hold:\n  ${problems.join('\n  ')}`)
    this.name = 'RulesError'
  }
}

/**
 * Throws `RulesError` with every problem there is, each with its path in the JSON.
 *
 * @param versions those that rules may name; any unless given
 */
export function parseRules(json: unknown, versions?: readonly NamedVersion[]): Rules {
  const inherited = pathOfProto(json)
  if (inherited !== null) throw new RulesError([`${inherited}: is no name; rename it`])
  const parsed = rulesSchema.safeParse(json)
  if (parsed.success) {
    const problems = [...problemsOf(parsed.data), ...notLoaded(parsed.data, versions)]
    if (problems.length > 0) throw new RulesError(problems)
    return parsed.data
  }
  const { issues } = parsed.error
  const form = issues.map((issue) => `${pathOf(issue.path)}: ${issue.message}`)
  throw new RulesError([...form, ...problemsBeside(json as object, issues, versions)])
}

export interface NamedVersion {
  readonly name: string
  readonly version: number
}

function notLoaded(rules: Rules, versions: readonly NamedVersion[] | undefined): string[] {
  if (versions === undefined) return []
  const known = new Set(versions.map(({ name, version }) => `${name}@${version}`))
  return referencesOf(rules).flatMap(([path, reference]) =>
    known.has(reference) ? [] : [`${path}: ${reference} is not loaded`],
  )
}

/** What is wrong beside rules of a wrong form: with those the rest of the file. */
function problemsBeside(
  json: object,
  issues: readonly { readonly path: readonly PropertyKey[] }[],
  versions: readonly NamedVersion[] | undefined,
): string[] {
  const lists = kindsOfRules as readonly PropertyKey[]
  // The place of a rule in the file, by its place among those that are left.
  const places: Record<string, number[]> = {}
  const left = Object.entries(json).map(([name, list]: [string, unknown]) => {
    if (!lists.includes(name) || !Array.isArray(list)) return [name, list]
    const kept = list.map((_, i) => i).filter((i) => !issues.some(({ path }) => path[0] === name && path[1] === i))
    places[name] = kept
    return [name, kept.map((i) => (list as unknown[])[i])]
  })
  const parsed = rulesSchema.safeParse(Object.fromEntries(left))
  if (!parsed.success) return []
  return [...problemsOf(parsed.data, false), ...notLoaded(parsed.data, versions)].map((problem) =>
    problem.replace(/^\$\.(\w+)\[(\d+)\]/, (_, name: string, i: string) => `$.${name}[${places[name]![Number(i)]}]`),
  )
}

const differenceLimits = ['difference_max', 'difference_rate_max'] as const
const stopLimits = ['error_rate_max', 'refusal_rate_max', 'p99_ratio_max', ...differenceLimits] as const

const kindsOfRules = [
  'conditions',
  'holdouts',
  'experiments',
  'canaries',
  'shadows',
  'overrides',
  'enrichments',
  'limits',
] as const

/** What is wrong between the parts of a file that has the right form; of a part of one, what the rest cannot mend. */
function problemsOf(rules: Rules, whole = true): string[] {
  const problems: string[] = []
  const kinds = attributesOf(rules)
  for (const name of Object.keys(rules.attributes ?? {}))
    if (Object.hasOwn(givenAttributes, name) || name === 'all' || name === 'any' || name === 'not')
      problems.push(`$.attributes.${name}: the name is taken; choose another`)
  if (Object.keys(kinds).length > slotsMax)
    problems.push(`$.attributes: ${Object.keys(kinds).length} with the given ones, at most ${slotsMax}`)
  const ids = new Set(['default'])
  for (const list of kindsOfRules)
    for (const [i, rule] of (rules[list] ?? []).entries()) {
      const path = `$.${list}[${i}]`
      if (ids.has(rule.id)) problems.push(`${path}.id: ${rule.id} is the name of another rule`)
      ids.add(rule.id)
      for (const [o, objective] of (rule.objectives ?? []).entries()) {
        if (!Object.hasOwn(rules.objectives, objective))
          problems.push(`${path}.objectives[${o}]: there is no objective ${objective}`)
        if (rule.objectives!.indexOf(objective) !== o)
          problems.push(`${path}.objectives[${o}]: ${objective} is there twice`)
      }
      if ('when' in rule && rule.when !== undefined) checkCondition(rule.when, `${path}.when`, kinds, problems)
    }
  checkExperiments(rules, kinds, problems)
  for (const [i, canary] of (rules.canaries ?? []).entries()) {
    const path = `$.canaries[${i}]`
    if ((canary.percent === undefined) === (canary.ramp === undefined))
      problems.push(`${path}: give percent or ramp, one of them`)
    if (canary.stop !== undefined && stopLimits.every((limit) => canary.stop![limit] === undefined))
      problems.push(`${path}.stop: has no limit: give ${stopLimits.join(', ')}`)
    const times = (canary.ramp ?? []).map((step) => Date.parse(step.at))
    times.forEach((ms, s) => {
      if (s > 0 && ms <= times[s - 1]!) problems.push(`${path}.ramp[${s}].at: is not after the step before it`)
    })
  }
  if (whole) checkOverrides(rules, problems)
  // What follows asks rules about their objectives.
  if (whole && problems.length === 0) checkShadows(rules, problems)
  for (const [i, { set }] of (rules.enrichments ?? []).entries()) {
    const path = `$.enrichments[${i}].set`
    if (Object.keys(set).length === 0) problems.push(`${path}: sets nothing`)
    for (const [name, value] of Object.entries(set)) {
      const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined
      if (Object.hasOwn(givenAttributes, name))
        problems.push(`${path}.${name}: is what the request says; enrichments set other attributes`)
      else if (kind !== undefined && kindOf(value) !== kind)
        problems.push(`${path}.${name}: is declared ${kind}, ${JSON.stringify(value)} is ${kindOf(value)}`)
    }
  }
  for (const [i, limit] of (rules.limits ?? []).entries())
    if (limit.requests_per_second === undefined && limit.requests_in_flight === undefined)
      problems.push(`$.limits[${i}]: limits nothing: give requests_per_second or requests_in_flight`)
    else if (limit.burst !== undefined && limit.requests_per_second === undefined)
      problems.push(`$.limits[${i}].burst: is of a rate: give requests_per_second`)
  if (whole) problems.push(...unreachable(rules))
  return problems
}

function checkExperiments(rules: Rules, kinds: Readonly<Record<string, AttributeKind>>, problems: string[]): void {
  const groups: { readonly name: string; readonly from: number; readonly to: number; readonly id: string }[] = []
  for (const [e, experiment] of (rules.experiments ?? []).entries()) {
    const { id, cells, group, percent, cell_from, allocator, default_cell, objectives } = experiment
    const path = `$.experiments[${e}]`
    const names = cells.map((cell) => cell.name)
    names.forEach((name, c) => {
      if (names.indexOf(name) !== c) problems.push(`${path}.cells[${c}].name: ${name} is there twice`)
    })
    const total = cells.reduce((sum, cell) => sum + cell.weight, 0)
    if (!(total > 0 && total < Infinity)) problems.push(`${path}.cells: the weights add up to ${total}`)
    cells.forEach(({ workflow }, c) => {
      if (typeof workflow !== 'object') return
      for (const objective of Object.keys(workflow))
        if (!objectives.includes(objective))
          problems.push(`${path}.cells[${c}].workflow.${objective}: the experiment is not for this objective`)
    })
    if (cell_from !== undefined && kinds[cell_from] !== 'text')
      problems.push(`${path}.cell_from: ${cell_from} is not declared as text in $.attributes`)
    if (allocator === true && (percent !== undefined || group !== undefined))
      problems.push(`${path}: the allocator says who takes part: leave percent and group out`)
    if (default_cell !== undefined && !names.includes(default_cell))
      problems.push(`${path}.default_cell: there is no cell ${default_cell}; cells are ${names.join(', ')}`)
    if (group === undefined) continue
    if (group.from >= group.to) problems.push(`${path}.group: from ${group.from} to ${group.to} is nobody`)
    const other = groups.find((one) => one.name === group.name && one.from < group.to && group.from < one.to)
    if (other !== undefined)
      problems.push(`${path}.group: ${group.from} to ${group.to} overlaps ${other.from} to ${other.to} of ${other.id}`)
    groups.push({ ...group, id })
  }
}

function checkOverrides(rules: Rules, problems: string[]): void {
  for (const [i, { workflows, experiments: named, objectives }] of (rules.overrides ?? []).entries()) {
    const path = `$.overrides[${i}]`
    if (workflows === undefined && named === undefined)
      problems.push(`${path}: allows nothing: give workflows or experiments`)
    for (const [e, id] of (named ?? []).entries()) {
      const experiment = rules.experiments?.find((one) => one.id === id)
      if (experiment === undefined) problems.push(`${path}.experiments[${e}]: there is no experiment ${id}`)
      else if (!experiment.objectives.some((objective) => objectives.includes(objective)))
        problems.push(`${path}.experiments[${e}]: ${id} is for none of the objectives of this override`)
    }
  }
}

function checkShadows(rules: Rules, problems: string[]): void {
  for (const [s, shadow] of (rules.shadows ?? []).entries()) {
    const path = `$.shadows[${s}]`
    for (const [a, rule] of (shadow.answered_by ?? []).entries())
      if (!shadow.objectives.some((objective) => answersOf(rules, objective).some((answer) => answer.rule === rule)))
        problems.push(`${path}.answered_by[${a}]: no rule ${rule} answers an objective of this shadow`)
    for (const objective of shadow.objectives)
      if (!answersOf(rules, objective).some((answer) => isCopied(shadow, answer)))
        problems.push(
          `${path}: copies nothing of ${objective}: ${shadow.workflow} itself answers every request that it could copy`,
        )
  }
  for (const [c, canary] of (rules.canaries ?? []).entries())
    for (const limit of differenceLimits) {
      if (canary.stop?.[limit] === undefined) continue
      for (const objective of canary.objectives)
        if (comparingShadows(rules, canary, objective).length === 0) {
          const workflow = rules.objectives[objective]!.default
          const shadow = { objectives: [objective], workflow, answered_by: [canary.id], percent: 100 }
          problems.push(
            `$.canaries[${c}].stop.${limit}: of ${objective}, no shadow has ${workflow} answer what the canary answers; ` +
              `give $.shadows one such as ${JSON.stringify(shadow)}`,
          )
        }
    }
}

function checkCondition(
  condition: Condition,
  path: string,
  kinds: Readonly<Record<string, AttributeKind>>,
  problems: string[],
  depth = 1,
): void {
  if (depth > 16) {
    problems.push(`${path}: is nested deeper than 16`)
    return
  }
  for (const [name, test] of testsOf(condition)) {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined
    if (kind === undefined) problems.push(`${path}.${name}: declare it in $.attributes, as text, number or truth`)
    else checkTest(test, kind, `${path}.${name}`, problems)
  }
  condition.all?.forEach((one, i) => checkCondition(one, `${path}.all[${i}]`, kinds, problems, depth + 1))
  condition.any?.forEach((one, i) => checkCondition(one, `${path}.any[${i}]`, kinds, problems, depth + 1))
  if (condition.not !== undefined) checkCondition(condition.not, `${path}.not`, kinds, problems, depth + 1)
}

function checkTest(test: PlainTest, kind: AttributeKind, path: string, problems: string[]): void {
  for (const list of ['in', 'not_in'] as const)
    for (const value of test[list] ?? [])
      if (kindOf(value) !== kind)
        problems.push(`${path}: is declared ${kind}, ${JSON.stringify(value)} is ${kindOf(value)}`)
  if ((test.from !== undefined || test.below !== undefined) && kind !== 'number')
    problems.push(`${path}: is declared ${kind}, from and below are for numbers`)
  if (test.from !== undefined && test.below !== undefined && !(test.from < test.below))
    problems.push(`${path}: from ${test.from} below ${test.below} is nothing`)
  if (test.is !== undefined && kind !== 'truth')
    problems.push(`${path}: is declared ${kind}, ${String(test.is)} is truth`)
}

/** Rules that no request can reach, because one before them takes everything that comes to them. */
function unreachable(rules: Rules): string[] {
  const problems: string[] = []
  /** By objective: the condition that asks a text first. */
  const asking = new Map<string, Map<string, string>>()
  for (const [i, { id, objectives, when }] of (rules.conditions ?? []).entries()) {
    const text = normal(when)
    for (const objective of new Set(objectives)) {
      const before = asking.get(objective) ?? new Map<string, string>()
      asking.set(objective, before)
      const same = before.get(text)
      if (same === undefined) before.set(text, id)
      else problems.push(`$.conditions[${i}]: ${objective} never gets here: ${same} asks the same before it`)
    }
  }
  // Experiments and canaries decide for requests with a subject: one that takes all of those leaves none.
  const takers = new Map<string, string>()
  const asked = (path: string, { id, objectives }: { id: string; objectives: string[] }, takesAll: boolean): void => {
    for (const objective of new Set(objectives)) {
      const taker = takers.get(objective)
      if (taker !== undefined)
        problems.push(`${path}: no subject of ${objective} gets here: ${taker} takes all of them`)
      else if (takesAll) takers.set(objective, id)
    }
  }
  for (const [e, rule] of (rules.experiments ?? []).entries()) {
    const all = rule.when === undefined && (rule.percent ?? 100) === 100 && rule.allocator !== true
    const group = rule.group === undefined || (rule.group.from === 0 && rule.group.to === 100)
    asked(`$.experiments[${e}]`, rule, all && group)
  }
  // Who is held out of the experiments goes on to the canaries.
  for (const { objectives } of rules.holdouts ?? []) for (const objective of objectives) takers.delete(objective)
  for (const [c, rule] of (rules.canaries ?? []).entries())
    if (rule.stopped === undefined) asked(`$.canaries[${c}]`, rule, rule.when === undefined && rule.percent === 100)
  return problems
}

/** A condition as text, the same for the same tests in another order. */
function normal(condition: Condition): string {
  const entries = Object.entries(condition)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]): [string, unknown] => {
      if (name === 'all' || name === 'any') return [name, (value as Condition[]).map(normal).sort()]
      if (name === 'not') return [name, normal(value as Condition)]
      return [name, plainTest(value as never)]
    })
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Where a `__proto__` is, which objects take for what they inherit from. */
function pathOfProto(json: unknown, path = '$'): string | null {
  if (typeof json !== 'object' || json === null) return null
  for (const [name, value] of Object.entries(json)) {
    const at = `${path}.${name}`
    const found = name === '__proto__' ? at : pathOfProto(value, at)
    if (found !== null) return found
  }
  return null
}

function pathOf(path: readonly PropertyKey[]): string {
  return '$' + path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('')
}
