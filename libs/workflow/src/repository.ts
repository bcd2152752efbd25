import { existsSync, readdirSync, statSync, type Stats } from 'node:fs'
import { join, resolve } from 'node:path'
import type { VersionFolder } from './description'

/** A repository as a folder: `workflows/<name>/<integer version>/`, `rules.json` or `rules.ts`, `facts/`. */
export interface Repository {
  /** Absolute path. */
  readonly path: string
  /** By name, then version: the index into this list is the version index that all threads agree on. */
  readonly versions: readonly VersionFolder[]
  /** Rules file, or null. */
  readonly rules: string | null
  /** Folder of the fact store, or null. */
  readonly facts: string | null
  /** What is wrong with the folder and where, one sentence each; the rest of it is served. */
  readonly problems: readonly string[]
}

/** Of a workflow. */
export const namePattern = /^[A-Za-z0-9][\w.-]{0,99}$/
const versionPattern = /^[1-9]\d{0,8}$/
const workflowFiles = ['workflow.ts', 'workflow.js', 'workflow.mts', 'workflow.mjs', 'workflow.cjs']

/** Reads the folder's names only; nothing is loaded. Names that begin with `.` or `_` are left alone (half-written). */
export function readRepository(folder: string): Repository {
  const path = resolve(folder)
  const problems: string[] = []
  const versions: VersionFolder[] = []
  const workflows = join(path, 'workflows')
  if (!isFolder(workflows)) problems.push(`${workflows} is no folder: a repository has workflows/<name>/<version>/`)
  else for (const name of folders(workflows)) versions.push(...readVersions(workflows, name, problems))
  versions.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version - b.version))
  const rules = ['rules.ts', 'rules.js', 'rules.json'].filter((file) => existsSync(join(path, file)))
  if (rules.length > 1) problems.push(`${path} has ${rules.join(' and ')}: ${rules[0]!} is used, remove the other`)
  const facts = join(path, 'facts')
  return {
    path,
    versions,
    rules: rules.length > 0 ? join(path, rules[0]!) : null,
    facts: isFolder(facts) ? facts : null,
    problems,
  }
}

/**
 * What the files of a folder are told apart by, without reading them: their paths, sizes and times, in order. Two looks
 * that give the same say that nobody was writing in between. Throws when a file goes away meanwhile.
 */
export function fingerprint(path: string, without: (path: string) => boolean = () => false): string {
  const lines: string[] = []
  const add = (at: string, { size, mtimeMs, ino }: Stats): void => void lines.push(`${at} ${size} ${mtimeMs} ${ino}`)
  const walk = (folder: string): void => {
    for (const name of readdirSync(folder).sort()) {
      const at = join(folder, name)
      if (isAside(name) || without(at)) continue
      const stats = statSync(at)
      if (stats.isDirectory()) walk(at)
      else add(at, stats)
    }
  }
  const stats = statSync(path)
  if (stats.isDirectory()) walk(path)
  else add(path, stats)
  return lines.join('\n')
}

/** Names of what is half-written, and of packages. */
function isAside(name: string): boolean {
  return /^[._]|~$/.test(name) || name === 'node_modules'
}

function readVersions(workflows: string, name: string, problems: string[]): VersionFolder[] {
  const path = join(workflows, name)
  if (!namePattern.test(name)) {
    problems.push(`${path}: a workflow's name is letters, digits, '.', '_' and '-', at most 100`)
    return []
  }
  const versions: VersionFolder[] = []
  for (const version of folders(path)) {
    const at = join(path, version)
    if (!versionPattern.test(version)) {
      problems.push(`${at}: a version's folder is a positive integer, like ${join(path, '1')}`)
      continue
    }
    const file = workflowFiles.find((candidate) => existsSync(join(at, candidate)))
    versions.push({
      name,
      version: Number(version),
      path: at,
      workflowFile: file === undefined ? null : join(at, file),
    })
  }
  if (versions.length === 0) problems.push(`${path} has no version: put its files into ${join(path, '1')}`)
  return versions
}

function folders(path: string): string[] {
  return readdirSync(path).filter((name) => !/^[._]/.test(name) && isFolder(join(path, name)))
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
