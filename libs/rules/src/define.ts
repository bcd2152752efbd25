import type { NamedVersion } from './check'
import type { RulesFile } from './rules'

/** Rules written in TypeScript: their form is checked by the compiler now, all of them by `parseRules` when loaded. */
export function defineRules(rules: RulesFile): RulesFile {
  return rules
}

/**
 * `defineRules` that knows the versions of a repository: `const rules = rulesOf<Version>()`, with the type that
 * `millrace rules types` writes. A version that is not there is a compile error, and so is an objective that the
 * file does not have among its `objectives`.
 */
export function rulesOf<Version extends string>() {
  return <Objective extends string>(rules: NamedRules<Objective, Version>): RulesFile => rules as RulesFile
}

/** A file that names these alone. Objectives are those that have a default: the compiler takes them from nowhere else. */
interface NamedRules<Objective extends string, Version extends string> extends Omit<
  RulesFile,
  keyof Lists | 'objectives'
> {
  objectives: Record<Objective, { default: Version }>
  conditions?: With<Lists['conditions'], { objectives: NoInfer<Objective>[]; workflow: Version }>[]
  holdouts?: With<Lists['holdouts'], { objectives: NoInfer<Objective>[] }>[]
  experiments?: With<
    Lists['experiments'],
    {
      objectives: NoInfer<Objective>[]
      cells: With<Cell, { workflow: Version | Partial<Record<NoInfer<Objective>, Version>> }>[]
    }
  >[]
  canaries?: With<Lists['canaries'], { objectives: NoInfer<Objective>[]; workflow: Version }>[]
  shadows?: With<Lists['shadows'], { objectives: NoInfer<Objective>[]; workflow: Version }>[]
  overrides?: With<Lists['overrides'], { objectives: NoInfer<Objective>[]; workflows: Version[] }>[]
  enrichments?: With<Lists['enrichments'], { objectives: NoInfer<Objective>[] }>[]
  limits?: With<Lists['limits'], { objectives: NoInfer<Objective>[] }>[]
}

/** A rule of each kind, by the name of its list. */
type Lists = {
  [List in keyof RulesFile as NonNullable<RulesFile[List]> extends unknown[] ? List : never]-?: NonNullable<
    RulesFile[List]
  > extends (infer Rule)[]
    ? Rule
    : never
}
type Cell = Lists['experiments']['cells'][number]

/** One type, not an intersection: fields that there are none of stay errors. */
type With<Rule, Own> = { [Field in keyof Rule]: Field extends keyof Own ? Own[Field] : Rule[Field] }

/** A TypeScript module whose `Version` is any of these: what `rulesOf` takes. */
export function versionTypes(versions: readonly NamedVersion[]): string {
  const names = versions.map(({ name, version }) => `'${name}@${version}'`)
  const type = names.length === 0 ? ' never' : names.map((name) => `\n  | ${name}`).join('')
  return `// Written by millrace rules types: the versions of this repository.\nexport type Version =${type}\n`
}
