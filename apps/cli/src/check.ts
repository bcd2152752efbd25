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
  problems.push(...(await rulesProblems(repository)))
  if (json === true) printJson({ repository: repository.path, versions, problems })
  else show(repository, versions, problems)
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

async function rulesProblems(repository: Repository): Promise<string[]> {
  try {
    compileRules(await repositoryRules(repository), repository.versions, 1)
    return []
  } catch (error) {
    if (error instanceof RulesError) return error.problems.map((problem) => `${repository.rules}: ${problem}`)
    return [messageOf(error)]
  }
}

function show(repository: Repository, versions: readonly VersionDescription[], problems: readonly string[]): void {
  for (const { name, version, state, signature, model, golden, loadMs } of versions) {
    const ready = state === 'ready'
    const goldens = golden === null ? 'no golden requests' : `${golden.passed} golden requests passed`
    const engine = model === null ? 'no model' : `${model.engine}, ${model.format}`
    print(
      `${ready ? paint('green', 'ready ') : paint('red', 'failed')} ${name}@${version}${ready ? `  (${engine}; ${goldens}; ${Math.round(loadMs)} ms)` : ''}`,
    )
    if (!ready) continue
    for (const [way, columns] of [
      ['in', signature.inputs],
      ['out', signature.outputs],
    ] as const)
      for (const column of columns) print(`         ${way.padEnd(4)} ${column.name}: ${describeColumn(column)}`)
  }
  print(problems.length === 0 ? `\n${repository.path} is good` : '')
  for (const problem of problems) print(`${paint('red', 'wrong')} ${problem}`)
}
