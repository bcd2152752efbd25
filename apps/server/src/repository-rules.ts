import { readFileSync } from 'node:fs'
import { parseRules, RulesError, type NamedVersion, type Rules, type RulesFile } from '@millrace/rules'
import { importDefault, messageOf, type Repository } from '@millrace/workflow'

/**
 * The rules of a repository: its rules file, or, where it has none, an objective named like each workflow that is
 * answered by its highest version.
 *
 * Rejects with an Error that names the file; its cause is a RulesError, with every problem, where the rules do not hold.
 */
export async function repositoryRules(
  repository: Repository,
  { before, versions }: RepositoryRulesOptions = {},
): Promise<Rules> {
  if (repository.rules === null) {
    const highest = new Map(repository.versions.map(({ name, version }) => [name, version]))
    const own = Object.fromEntries([...highest].map(([name, version]) => [name, { default: `${name}@${version}` }]))
    return { objectives: { ...before?.objectives, ...own } }
  }
  let json: unknown
  try {
    json = repository.rules.endsWith('.json')
      ? JSON.parse(readFileSync(repository.rules, 'utf8'))
      : await importDefault(repository.rules)
  } catch (error) {
    throw new Error(`${repository.rules}: ${messageOf(error)}`, { cause: error })
  }
  try {
    return parseRules(json, versions)
  } catch (error) {
    if (error instanceof RulesError) throw new Error(`${repository.rules}: ${error.message}`, { cause: error })
    throw error
  }
}

export interface RepositoryRulesOptions {
  /** Rules in force: objectives that folders made stay, when all folders of a workflow are gone. */
  readonly before?: RulesFile
  /** Those that a rules file may name; any unless given: of a server, they may still come. */
  readonly versions?: readonly NamedVersion[]
}
