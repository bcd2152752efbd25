import { z } from 'zod'

const workflow = z.string().regex(/^.+@[0-9]+$/, 'is not a workflow version, such as price@1')
const name = z.string().min(1)

const schema = z.strictObject({
  version: z.number().int().nonnegative().optional(),
  objectives: z.record(name, z.strictObject({ default: workflow })),
  experiments: z
    .array(
      z.strictObject({
        id: name,
        salt: name.optional(),
        objectives: z.array(name).min(1),
        cells: z.array(z.strictObject({ name, weight: z.number().nonnegative(), workflow })).min(1),
      }),
    )
    .optional(),
})

/** A rules file as it is written; see the README. */
export type Rules = z.infer<typeof schema>

export class RulesError extends Error {
  constructor(readonly problems: string[]) {
    super(`the rules do not hold:\n  ${problems.join('\n  ')}`)
    this.name = 'RulesError'
  }
}

/** Rules written in TypeScript: checked by the compiler now, by `parseRules` when loaded. */
export function defineRules(rules: Rules): Rules {
  return rules
}

/** Throws `RulesError` with every problem there is, each with its path in the JSON. */
export function parseRules(json: unknown): Rules {
  const parsed = schema.safeParse(json)
  if (!parsed.success) {
    throw new RulesError(parsed.error.issues.map((issue) => `${pathOf(issue.path)}: ${issue.message}`))
  }
  const problems = relations(parsed.data)
  if (problems.length > 0) throw new RulesError(problems)
  return parsed.data
}

function relations(rules: Rules): string[] {
  const problems: string[] = []
  const ids = new Set<string>()
  const taken = new Map<string, string>()
  for (const [e, experiment] of (rules.experiments ?? []).entries()) {
    const path = `$.experiments[${e}]`
    const { id, objectives, cells } = experiment
    if (id === 'default') problems.push(`${path}.id: default is the name of another rule`)
    if (ids.has(id)) problems.push(`${path}.id: ${id} is there twice`)
    ids.add(id)
    for (const [o, objective] of objectives.entries()) {
      const other = taken.get(objective)
      if (!Object.hasOwn(rules.objectives, objective)) {
        problems.push(`${path}.objectives[${o}]: there is no objective ${objective}`)
      }
      if (other !== undefined) problems.push(`${path}.objectives[${o}]: ${objective} is in experiment ${other} already`)
      taken.set(objective, id)
    }
    if (new Set(cells.map((cell) => cell.name)).size !== cells.length)
      problems.push(`${path}.cells: a name is there twice`)
    const total = cells.reduce((sum, cell) => sum + cell.weight, 0)
    if (!(total > 0 && total < Infinity)) problems.push(`${path}.cells: the weights add up to ${total}`)
  }
  return problems
}

function pathOf(path: readonly PropertyKey[]): string {
  return '$' + path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('')
}
