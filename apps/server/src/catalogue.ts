import { existsSync } from 'node:fs'
import { basename, join, relative, sep } from 'node:path'
import { fingerprint, readRepository, type Repository, type VersionFolder } from '@millrace/workflow'
import type { Wanted } from './lane-messages'
import type { Log } from './log'

/** A version of the repository, by a number that no other has or had. */
export interface Entry {
  readonly index: number
  readonly folder: VersionFolder
  /** `name@version`: of one that was changed in place there may be two, the newer one to take over. */
  readonly label: string
  readonly foundMs: number
  /** Of its files, as they were when it was found. */
  readonly print: string
  folderIs: 'there' | 'gone' | 'changed'
  /** Some lane knows how it stands: the others may try it. */
  tried: boolean
  /** Some lane had it ready, or it was there when the server started: what ends a lane is not this version. */
  served: boolean
  /** Lanes that ended while they tried it; and why none is to do so again. */
  deaths: number
  doomed: string | null
}

const remarks: Readonly<Record<Entry['folderIs'], string | null>> = {
  there: null,
  gone: 'its folder is gone; it serves from memory until no rules name it',
  changed: 'its folder was changed; what was loaded serves, give what is new a version number of its own',
}

export interface CatalogueOptions {
  readonly repository: string
  /** A version whose folder changed is loaded in the place of the one before (`serve --dev`). */
  readonly replaceChanged: boolean
}

/** A folder counts when looks that are this far apart find its files the same: until then somebody may be writing it. */
const settleMs = 100

/** Which versions there are, as looks at the repository tell. */
export class Catalogue {
  readonly entries: Entry[] = []
  private read: Repository
  private nextIndex = 0
  /** By name@version: what looks found last, and since when. */
  private prints = new Map<string, { readonly print: string; readonly ms: number }>()
  private rulesPrint = { print: '', ms: 0 }
  private rulesSettled = ''
  private told = new Set<string>()

  /** What is there when the server starts is taken as it is. */
  constructor(
    private readonly options: CatalogueOptions,
    private readonly log: Log,
  ) {
    this.read = readRepository(options.repository)
    this.look(() => false, true)
  }

  /** As it was read last. */
  get repository(): Repository {
    return this.read
  }

  /** Changes when the rules file does, once it has settled. */
  get rulesFile(): string {
    return this.rulesSettled
  }

  /** Every version that is there or is served, also those whose folders are still being written. */
  get known(): { readonly name: string; readonly version: number }[] {
    const written = this.read.versions.map(({ name, version }) => ({ name, version }))
    return [...this.entries.map(({ folder: { name, version } }) => ({ name, version })), ...written]
  }

  /** Its folder is there, and somebody may be writing it. */
  isWritten(label: string): boolean {
    return this.prints.has(label)
  }

  /** The newest entry first. */
  of(label: string): Entry[] {
    return this.entries.filter((entry) => entry.label === label).reverse()
  }

  /** What lanes are to have. */
  wanted(): (Wanted & { readonly tried: boolean })[] {
    return this.entries.map(({ index, folder, folderIs, doomed, tried }) => {
      return { index, folder, remark: remarks[folderIs], doomed, tried }
    })
  }

  /** A version that is needed though its folder is not there: it fails, and says why. */
  miss(name: string, version: number): void {
    const path = join(this.read.path, 'workflows', name, String(version))
    this.add({ name, version, path, workflowFile: null }, 'none', true).folderIs = 'gone'
  }

  drop(entry: Entry): void {
    this.entries.splice(this.entries.indexOf(entry), 1)
  }

  /**
   * Looks at the repository.
   *
   * @param failed whether a version does not serve: one that was changed then is loaded anew
   * @returns whether there is anything else to load, to remark on or to let go
   */
  look(failed: (entry: Entry) => boolean, atOnce = false): boolean {
    let read: Repository
    const prints = new Map<string, { readonly print: string; readonly ms: number }>()
    const now = performance.now()
    try {
      read = readRepository(this.options.repository)
      // A repository that is not there is no empty one.
      if (!existsSync(join(read.path, 'workflows'))) throw new Error(read.problems.join('; '))
      const shared = this.options.replaceChanged ? fingerprint(read.path, (path) => isOfItsOwn(read.path, path)) : ''
      for (const { name, version, path } of read.versions) {
        const label = `${name}@${version}`
        const print = `${shared}\n${fingerprint(path)}`
        const before = this.prints.get(label)
        prints.set(label, before?.print === print ? before : { print, ms: now })
      }
      this.lookAtRules(read.rules, atOnce)
    } catch (error) {
      // Files that come and go while they are looked at: the next look tells more.
      this.tellOnce(`${this.options.repository} could not be read: ${(error as Error).message}`)
      return false
    }
    for (const problem of read.problems) this.tellOnce(problem)
    this.read = read
    this.prints = prints
    let news = false
    for (const folder of read.versions) {
      const label = `${folder.name}@${folder.version}`
      const { print, ms } = prints.get(label)!
      const settled = atOnce || now - ms >= settleMs
      const [newest] = this.of(label)
      if (newest?.print === print) news = this.is(newest, 'there') || news
      else if (!settled) continue
      else if (newest !== undefined && !this.options.replaceChanged && !failed(newest))
        news = this.is(newest, 'changed') || news
      else {
        this.add(folder, print, atOnce)
        news = true
      }
    }
    for (const entry of this.entries)
      if (!prints.has(entry.label) && entry.folderIs !== 'gone') {
        entry.folderIs = 'gone'
        news = true
      }
    return news
  }

  private add(folder: VersionFolder, print: string, tried: boolean): Entry {
    const label = `${folder.name}@${folder.version}`
    const index = this.nextIndex++
    const entry: Entry = {
      index,
      folder,
      label,
      foundMs: Date.now(),
      print,
      folderIs: 'there',
      tried,
      served: tried,
      deaths: 0,
      doomed: null,
    }
    this.entries.push(entry)
    return entry
  }

  private is(entry: Entry, folderIs: Entry['folderIs']): boolean {
    if (entry.folderIs === folderIs) return false
    entry.folderIs = folderIs
    if (folderIs === 'changed') this.log.warn({ version: entry.label }, `${entry.label}: ${remarks.changed}`)
    return true
  }

  private lookAtRules(path: string | null, atOnce: boolean): void {
    const print = path === null ? '' : fingerprint(path)
    const now = performance.now()
    if (print !== this.rulesPrint.print) this.rulesPrint = { print, ms: now }
    if (atOnce || now - this.rulesPrint.ms >= settleMs) this.rulesSettled = print
  }

  private tellOnce(problem: string): void {
    if (this.told.has(problem)) return
    if (this.told.size > 1000) this.told.clear()
    this.told.add(problem)
    this.log.warn(problem)
  }
}

/** Folders of versions, facts, which are written while they are read, examples, and the rules file. */
function isOfItsOwn(repository: string, path: string): boolean {
  const parts = relative(repository, path).split(sep)
  const [top] = parts
  if (top === 'facts' || top === 'requests') return true
  return top === 'workflows' ? parts.length === 3 : parts.length === 1 && basename(path).startsWith('rules.')
}
