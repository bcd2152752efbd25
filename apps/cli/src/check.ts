import { compileRules, RulesError } from '@millrace/rules'
import { enrichmentProblems, repositoryRules } from '@millrace/server'
import { openWhenReady, type FactStore } from '@millrace/facts'
import { describeColumn, type AttributeSpec } from '@millrace/base'
import { engines } from '@millrace/engine'
import {
  EngineChecks,
  messageOf,
  readRepository,
  type EngineCheck,
  type Repository,
  type VersionDescription,
} from '@millrace/workflow'
import { repositoryPath } from './configuration'
import { Exit, paint, print, printJson, progress, UsageError } from './output'

export interface CheckOptions {
  readonly json?: boolean
  /** The one engine that models run on; otherwise every one that is here and takes them. */
  readonly engine?: string
}

/**
 * Loads every version as a server would, golden requests included, on every engine that can run it, and compiles the
 * rules; exit 1 when any of it is wrong.
 */
export async function check(path: string | undefined, { json, engine }: CheckOptions): Promise<number> {
  const names = engines.map(({ name }) => name)
  if (engine !== undefined && !names.includes(engine))
    throw new UsageError(`--engine ${engine}: there is no such engine; engines are ${names.join(', ')}`)
  const repository = readRepository(repositoryPath(path))
  const problems = [...repository.problems]
  const checks = await checkAll(repository, engine ?? null)
  const checked = checks.filter((check) => check.length > 0)
  for (const [first, ...others] of checked) {
    const { name, version, state, reason } = first!.description
    if (state !== 'ready') problems.push(`${name}@${version}: ${reason}`)
    for (const { engine, description } of others)
      if (isWrong(description)) problems.push(`${name}@${version} on ${engine}: ${description.reason}`)
  }
  const versions = checked.map(([first]) => first!.description)
  const rules = await compiled(repository, versions)
  problems.push(...rules.problems)
  const left = repository.versions.filter((_, v) => checks[v]!.length === 0)
  const notes = [
    ...left.map(({ name, version }) => `${name}@${version}: not run, its models are not for ${engine}`),
    ...notesOn(versions, rules.served),
  ]
  if (json === true) printJson({ repository: repository.path, versions, engines: rows(checked), problems, notes })
  else show(repository, checked, problems, notes)
  return problems.length === 0 ? Exit.good : Exit.no
}

async function checkAll(repository: Repository, engine: string | null): Promise<(readonly EngineCheck[])[]> {
  let store: FactStore | null = null
  let storeReason: string | undefined
  try {
    const facts = process.env['MILLRACE_FACTS'] || repository.facts
    if (facts !== null) store = await openWhenReady(facts, { readOnly: true }, 1000)
  } catch (error) {
    storeReason = messageOf(error)
  }
  const checks = new EngineChecks({ store, ...(storeReason === undefined ? {} : { storeReason }) }, engine)
  try {
    const checked: (readonly EngineCheck[])[] = []
    for (const folder of repository.versions) {
      progress(`loading ${folder.name}@${folder.version} ...`)
      checked.push(await checks.check(folder))
    }
    return checked
  } finally {
    await checks.dispose()
    await store?.close()
  }
}

/** On an engine that is not the first: one that does not load the model cannot run it, which is no fault of the model. */
function isWrong({ state, golden }: VersionDescription): boolean {
  return state !== 'ready' && golden !== null
}

/** What came of each version on each engine, flat. */
function rows(checked: readonly (readonly EngineCheck[])[]): unknown[] {
  return checked.flat().map(({ engine, description, difference }) => {
    const { name, version, state, reason, golden } = description
    return { name, version, engine, state, reason, golden, difference }
  })
}

interface Compiled {
  readonly problems: readonly string[]
  /** `name@version` of every version that an objective leads to; null when the rules do not compile. */
  readonly served: ReadonlySet<string> | null
}

async function compiled(repository: Repository, versions: readonly VersionDescription[]): Promise<Compiled> {
  try {
    const rules = await repositoryRules(repository, { versions: repository.versions })
    const table = compileRules(rules, repository.versions, 1)
    const { routes } = table
    const problems = enrichmentProblems(table, (route) => {
      const { workflow, version } = routes[route]!
      return versions.find((one) => one.name === workflow && one.version === version)?.signature.context ?? []
    })
    if (problems.length > 0) throw new RulesError(problems)
    return { problems, served: new Set(routes.map(({ workflow, version }) => `${workflow}@${version}`)) }
  } catch (error) {
    const wrong = error instanceof Error && error.cause instanceof RulesError ? error.cause : error
    const problems =
      wrong instanceof RulesError
        ? wrong.problems.map((problem) => `${repository.rules}: ${problem}`)
        : [messageOf(error)]
    return { problems, served: null }
  }
}

/** What is not wrong, and may still not be meant. */
function notesOn(versions: readonly VersionDescription[], served: Compiled['served']): string[] {
  return versions
    .filter(({ state }) => state === 'ready')
    .flatMap((description) => {
      const label = `${description.name}@${description.version}`
      return [
        ...(served?.has(label) === false ? [`${label}: no objective leads here`] : []),
        ...(description.golden === null ? [`${label}: no golden requests: ${neverRan(description)}`] : []),
      ]
    })
}

function outcome(description: VersionDescription, difference: number | null): string {
  const { state, reason, golden, loadMs } = description
  if (state !== 'ready') return isWrong(description) ? 'failed' : `cannot run it: ${reason}`
  const passed = golden === null ? 'loads' : `${golden.passed} golden requests passed`
  const apart =
    difference === null
      ? ''
      : `, ${difference === Infinity ? 'other texts' : `at most ${difference.toPrecision(2)} apart`}`
  return `${passed}${apart}; ${Math.round(loadMs)} ms`
}

function neverRan({ models, warmed }: VersionDescription): string {
  if (models.length === 0) return 'it never ran'
  return warmed
    ? 'its model was run on zeros, its functions never ran'
    : 'it never ran, and is not warm when it first serves'
}

function show(
  repository: Repository,
  checked: readonly (readonly EngineCheck[])[],
  problems: readonly string[],
  notes: readonly string[],
): void {
  for (const [first, ...others] of checked) {
    const { name, version, state, signature, models, golden, loadMs } = first!.description
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
    for (const attribute of signature.context ?? [])
      print(`         ${'read'.padEnd(4)} context.${attribute.name}: ${describeAttribute(attribute)}`)
    for (const { engine, description, difference } of others)
      print(
        `         ${paint(description.state === 'ready' ? 'green' : 'red', 'on')}   ${engine}: ${outcome(description, difference)}`,
      )
  }
  for (const note of notes) print(`${paint('yellow', 'note')}  ${note}`)
  print(problems.length === 0 ? `\n${repository.path} is good` : '')
  for (const problem of problems) print(`${paint('red', 'wrong')} ${problem}`)
}

function describeAttribute({ kind, missing }: AttributeSpec): string {
  return `${kind}, ${missing === null ? 'required' : `${JSON.stringify(missing)} where it is missing`}`
}
