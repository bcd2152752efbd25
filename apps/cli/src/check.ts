import { compileRules, RulesError } from '@millrace/rules'
import { repositoryRules } from '@millrace/server'
import { openLmdb, type FactStore } from '@millrace/facts'
import { describeColumn } from '@millrace/base'
import {
  Engines,
  loadVersion,
  messageOf,
  readRepository,
  type Repository,
  type VersionDescription,
} from '@millrace/workflow'
import { repositoryPath } from './configuration'
import { Exit, paint, print, printJson, progress } from './output'

/** Loads every version as a server would, golden requests included, and compiles the rules; exit 1 when any of it is wrong. */
export async function check(path: string | undefined, { json }: { json?: boolean }): Promise<number> {
  const repository = readRepository(repositoryPath(path))
  const problems = [...repository.problems]
  const versions = await loadAll(repository)
  for (const { name, version, state, reason } of versions)
    if (state !== 'ready') problems.push(`${name}@${version}: ${reason}`)
  const rules = await compiled(repository)
  problems.push(...rules.problems)
  const notes = notesOn(versions, rules.served)
  if (json === true) printJson({ repository: repository.path, versions, problems, notes })
  else show(repository, versions, problems, notes)
  return problems.length === 0 ? Exit.good : Exit.no
}

async function loadAll(repository: Repository): Promise<VersionDescription[]> {
  const engines = new Engines({ threads: 1, device: 'cpu' }, [])
  let store: FactStore | null = null
  let storeReason: string | undefined
  try {
    if (repository.facts !== null) store = openLmdb(repository.facts, { readOnly: true })
  } catch (error) {
    storeReason = messageOf(error)
  }
  try {
    const versions: VersionDescription[] = []
    for (const folder of repository.versions) {
      progress(`loading ${folder.name}@${folder.version} ...`)
      const { version, description } = await loadVersion(folder, {
        engines,
        store,
        ...(storeReason === undefined ? {} : { storeReason }),
      })
      version?.dispose()
      versions.push(description)
    }
    return versions
  } finally {
    await engines.dispose()
    await store?.close()
  }
}

interface Compiled {
  readonly problems: readonly string[]
  /** `name@version` of every version that an objective leads to; null when the rules do not compile. */
  readonly served: ReadonlySet<string> | null
}

async function compiled(repository: Repository): Promise<Compiled> {
  try {
    const { routes } = compileRules(await repositoryRules(repository), repository.versions, 1)
    return { problems: [], served: new Set(routes.map(({ workflow, version }) => `${workflow}@${version}`)) }
  } catch (error) {
    const problems =
      error instanceof RulesError
        ? error.problems.map((problem) => `${repository.rules}: ${problem}`)
        : [messageOf(error)]
    return { problems, served: null }
  }
}

/** What is not wrong, and may still not be meant. */
function notesOn(versions: readonly VersionDescription[], served: Compiled['served']): string[] {
  return versions
    .filter(({ state }) => state === 'ready')
    .flatMap(({ name, version, golden, models }) => [
      ...(served?.has(`${name}@${version}`) === false ? [`${name}@${version}: no objective leads here`] : []),
      ...(golden === null ? [`${name}@${version}: no golden requests: ${neverRan(models)}`] : []),
    ])
}

function neverRan(models: VersionDescription['models']): string {
  if (models.length === 0) return 'it never ran'
  if (models.length === 1 && models[0]!.name === 'model') return 'its model was run on zeros, its functions never ran'
  return 'it never ran, and its models are not warmed'
}

function show(
  repository: Repository,
  versions: readonly VersionDescription[],
  problems: readonly string[],
  notes: readonly string[],
): void {
  for (const { name, version, state, signature, models, golden, loadMs } of versions) {
    const ready = state === 'ready'
    const goldens = golden === null ? 'no golden requests' : `${golden.passed} golden requests passed`
    const engines = [...new Set(models.map(({ engine, format }) => `${engine}, ${format}`))]
    print(
      `${ready ? paint('green', 'ready ') : paint('red', 'failed')} ${name}@${version}${ready ? `  (${engines.join('; ') || 'no model'}; ${goldens}; ${Math.round(loadMs)} ms)` : ''}`,
    )
    if (!ready) continue
    for (const [way, columns] of [
      ['in', signature.inputs],
      ['out', signature.outputs],
    ] as const)
      for (const column of columns) print(`         ${way.padEnd(4)} ${column.name}: ${describeColumn(column)}`)
  }
  for (const note of notes) print(`${paint('yellow', 'note')}  ${note}`)
  print(problems.length === 0 ? `\n${repository.path} is good` : '')
  for (const problem of problems) print(`${paint('red', 'wrong')} ${problem}`)
}
