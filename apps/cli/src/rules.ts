import { writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import { createTwoFilesPatch } from 'diff'
import { versionTypes } from '@millrace/rules'
import { importDefault, readRepository } from '@millrace/workflow'
import { askAdmin, type AdminOptions } from './ask-admin'
import { repositoryPath } from './configuration'
import { Exit, paint, print, printJson, table, UsageError } from './output'
import { readRequest } from './read-request'

export interface PublishOptions extends AdminOptions {
  readonly author?: string
  readonly note?: string
  /** Only say what is wrong. */
  readonly check?: boolean
}

interface Entry {
  readonly version: number
  readonly time: string
  readonly author: string
  readonly note: string
  readonly origin: string
}
interface PutEntry extends Entry {
  readonly warnings: readonly string[]
}
interface WholeEntry extends Entry {
  readonly rules: unknown
}
interface InForce extends Entry {
  readonly lanes: readonly { readonly lane: number; readonly version: number }[]
}

/** Puts the rules of a file in force; exit 1, with every problem, when they are not taken. */
export async function publishRules(file: string, options: PublishOptions): Promise<number> {
  const rules = /\.[cm]?[jt]s$/.test(file) ? await importDefault(resolve(file)) : readRequest(file)
  const { author = userName(), note = '', check } = options
  if (check === true) {
    await askAdmin(options, 'POST', '/v1/rules', { rules, check })
    if (options.json === true) printJson({ good: true })
    else print(`${file} is good; nothing was changed`)
    return Exit.good
  }
  return showEntry((await askAdmin(options, 'POST', '/v1/rules', { rules, author, note })) as PutEntry, options)
}

/** Puts an earlier version in force again. */
export async function rollbackRules(version: string | undefined, options: PublishOptions): Promise<number> {
  const { author = userName(), note } = options
  const body = {
    author,
    ...(note === undefined ? {} : { note }),
    ...(version === undefined ? {} : { version: numbered(version) }),
  }
  return showEntry((await askAdmin(options, 'POST', '/v1/rules/rollback', body)) as PutEntry, options)
}

/** Every version, newest first, and the lanes that are not at the first of them; exit 1 when one is not. */
export async function listRules(options: AdminOptions): Promise<number> {
  const entries = (await askAdmin(options, 'GET', '/v1/rules/versions')) as Entry[]
  const inForce = (await askAdmin(options, 'GET', '/v1/rules')) as InForce
  const lagging = inForce.lanes.filter(({ version }) => version !== inForce.version)
  if (options.json === true) printJson({ in_force: inForce.version, lanes: inForce.lanes, versions: entries })
  else {
    print(
      table([
        ['version', 'time', 'author', 'origin', 'note'],
        ...entries.map(({ version, time, author, origin, note }) => [
          `${version}${version === inForce.version ? ' *' : ''}`,
          time,
          author,
          origin,
          note,
        ]),
      ]),
    )
    for (const { lane, version } of lagging) print(paint('red', `lane ${lane} is still at version ${version}`))
  }
  return lagging.length === 0 ? Exit.good : Exit.no
}

/** The rules of a version, those in force unless said. */
export async function showRules(version: string | undefined, options: AdminOptions): Promise<number> {
  printJson((await versionOf(version, options)).rules)
  return Exit.good
}

/** What is different between two versions, line by line; exit 1 when anything is. */
export async function diffRules(from: string, to: string | undefined, options: AdminOptions): Promise<number> {
  const [before, after] = [await versionOf(from, options), await versionOf(to, options)]
  const text = ({ rules }: WholeEntry): string => `${JSON.stringify(rules, null, 2)}\n`
  if (text(before) === text(after)) return Exit.good
  const patch = createTwoFilesPatch(`version ${before.version}`, `version ${after.version}`, text(before), text(after))
  for (const line of patch.split('\n').slice(1))
    print(line.startsWith('+') ? paint('green', line) : line.startsWith('-') ? paint('red', line) : line)
  return Exit.no
}

export interface RulesTypesOptions {
  /** File that the types are written to; stdout unless given. */
  readonly out?: string
  readonly repository?: string
}

/** The versions of a repository as a TypeScript type, for its `rules.ts`. */
export function rulesTypes({ out, repository }: RulesTypesOptions): number {
  const { path, versions, problems } = readRepository(repositoryPath(repository))
  if (versions.length === 0) throw new UsageError(problems[0] ?? `${path}/workflows has no version yet`)
  const types = versionTypes(versions)
  if (out === undefined) process.stdout.write(types)
  else {
    writeFileSync(out, types)
    print(`${versions.length} versions of ${path} are in ${out}`)
  }
  return Exit.good
}

async function versionOf(version: string | undefined, options: AdminOptions): Promise<WholeEntry> {
  const wanted =
    version === undefined ? ((await askAdmin(options, 'GET', '/v1/rules')) as Entry).version : numbered(version)
  return (await askAdmin(options, 'GET', `/v1/rules/versions/${wanted}`)) as WholeEntry
}

function showEntry(entry: PutEntry, { json }: AdminOptions): number {
  if (json === true) printJson(entry)
  else {
    print(`rules version ${paint('green', String(entry.version))} is in force`)
    for (const warning of entry.warnings) print(paint('red', warning))
  }
  return Exit.good
}

function numbered(version: string): number {
  if (!/^[1-9]\d{0,8}$/.test(version))
    throw new UsageError(`${version}: is no version of the rules; see millrace rules list`)
  return Number(version)
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    // A user without a name, in a container for instance.
    return 'unknown'
  }
}
