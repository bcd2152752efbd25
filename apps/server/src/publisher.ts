import { isDeepStrictEqual } from 'node:util'
import { Code, Refusal } from '@millrace/base'
import { compileRules, parseRules, RulesError, runningCanaries, versionsNamed, type RulesFile } from '@millrace/rules'
import type { Repository } from '@millrace/workflow'
import type { CanaryStop } from './canary-watch'
import type { Log } from './log'
import { repositoryRules } from './repository-rules'
import { RulesStore, type RulesVersion } from './rules-store'

/** A workflow version. */
export interface Named {
  readonly name: string
  readonly version: number
}

/** The lanes, as publishing needs them. */
export interface Lanes {
  /** Every version that is there, ready or not. */
  known(): readonly Named[]
  /**
   * Resolves when these versions are ready on every lane that serves, with whether that was waited for. Rejects with a
   * Refusal that says why they are not, and will not be in time.
   */
  ready(versions: readonly Named[]): Promise<boolean>
  /** What each lane that serves says to it; rejects with the first refusal. */
  askAll(what: 'prepare' | 'map', request: unknown): Promise<unknown[]>
}

export interface Publish {
  readonly rules: unknown
  readonly author?: string | undefined
  readonly note?: string | undefined
}

/**
 * The rules of a server while it serves. A publish is checked in full, waits until what it names is ready, is prepared by
 * every lane, kept, and only then mapped: until then the rules before it decide, and where any of it fails they go on
 * doing so.
 */
export class Publisher {
  /** Publishes are one after the other. */
  private last: Promise<unknown> = Promise.resolve()

  /** Rules that lanes are about to be asked to take. */
  private coming: RulesFile | null = null

  private constructor(
    private readonly store: RulesStore,
    private now: RulesVersion,
    private readonly log: Log,
  ) {}

  /**
   * The rules that a server starts with: those that were in force last, unless the repository's own were changed since.
   * Rules of the repository that do not hold are logged, and passed over where there are others.
   */
  static async start(repository: Repository, folder: string, log: Log): Promise<Publisher> {
    const store = new RulesStore(folder)
    const kept = store.latest()
    try {
      const entry = await repositoryEntry(repository, store, kept)
      // What nobody published is not kept: a repository may be read only.
      if (kept !== null && entry !== kept) store.add(entry)
      return new Publisher(store, entry, log)
    } catch (error) {
      if (kept === null) throw error
      log.error(
        { err: error, rules: kept.version },
        `the repository's rules do not hold; version ${kept.version}, the last good one, decides: ${(error as Error).message}`,
      )
      return new Publisher(store, kept, log)
    }
  }

  /** In force. */
  get current(): RulesVersion {
    return this.now
  }

  /** Versions that must stay: those of the rules in force, and of rules that lanes may have prepared. */
  get named(): Named[] {
    return [...namedBy(this.now.rules), ...(this.coming === null ? [] : namedBy(this.coming))]
  }

  /** Newest first. */
  history(): RulesVersion[] {
    const versions = this.store.versions().reverse()
    return versions.length === 0 ? [this.now] : versions.map((version) => this.store.read(version))
  }

  version(version: number): RulesVersion {
    return version === this.now.version ? this.now : this.store.read(version)
  }

  /**
   * Puts rules in force, once every version that they name is ready. Rejects with a Refusal: INVALID_ARGUMENT with every
   * problem of the file, FAILED_PRECONDITION when a lane cannot serve what they name, ABORTED when it waited and others
   * were put in force meanwhile.
   */
  publish(lanes: Lanes, { rules, author, note }: Publish): Promise<RulesVersion> {
    return this.put(lanes, 'publish', rules, author, note ?? '')
  }

  /** Checks rules as `publish` does, and leaves it at that. */
  async check(lanes: Lanes, json: unknown): Promise<void> {
    const rules = checked(json, lanes)
    await lanes.ready(namedBy(rules))
    await this.after(() => lanes.askAll('prepare', { version: this.now.version + 1, rules }))
  }

  /** Puts an earlier version in force again, as a new one; the one before the current unless said. */
  async rollback(lanes: Lanes, to: number | undefined, author?: string, note?: string): Promise<RulesVersion> {
    const [version, rules] = await this.after((): [number, RulesFile] => {
      const versions = this.store.versions().filter((version) => version < this.now.version)
      const version = to ?? versions.at(-1)
      if (version === undefined)
        throw new Refusal(Code.FAILED_PRECONDITION, `there are no rules before version ${this.now.version}`)
      return [version, this.store.read(version).rules]
    })
    return this.put(lanes, 'rollback', rules, author, note ?? `version ${version} again`)
  }

  /**
   * Whether the repository says other rules than it did last. Those that are made of its folders, where it has no rules
   * file, say nothing any more once others were published.
   */
  isNews(rules: RulesFile, ofFolders: boolean): boolean {
    return isNews(rules, ofFolders, this.store, this.now)
  }

  /** Puts the rules of the repository in force, as `publish` does. */
  follow(lanes: Lanes, rules: RulesFile): Promise<RulesVersion> {
    return this.put(lanes, 'repository', rules, 'repository', fromFile)
  }

  /**
   * Takes canaries off that still run, by a version of the rules like any other; null when none does. Rejects as `publish`
   * does, but not for a lane: what takes a canary off asks less of it than what is in force.
   */
  stop(lanes: Lanes, stops: readonly CanaryStop[]): Promise<RulesVersion | null> {
    return this.after(() => {
      const rules = parseRules(this.now.rules)
      const whys = new Map<string, string>()
      for (const { canary, why } of stops) whys.set(canary, whys.has(canary) ? `${whys.get(canary)}; ${why}` : why)
      const running = runningCanaries(rules).filter(({ id }) => whys.has(id))
      if (running.length === 0) return null
      const at = new Date().toISOString()
      const canaries = rules.canaries!.map((canary) =>
        running.includes(canary) ? { ...canary, stopped: { at, why: whys.get(canary.id)! } } : canary,
      )
      const note = running.map(({ id }) => `canary ${id} taken off: ${whys.get(id)!}`).join('; ')
      return this.force(lanes, 'stop', { ...rules, canaries }, 'millrace', note)
    })
  }

  private async put(
    lanes: Lanes,
    origin: RulesVersion['origin'],
    json: unknown,
    author: string | undefined,
    note: string,
  ): Promise<RulesVersion> {
    const before = this.now.version
    const rules = checked(json, lanes)
    const waited = await lanes.ready(namedBy(rules))
    return this.after(() => {
      if (waited && this.now.version !== before)
        throw new Refusal(
          Code.ABORTED,
          `rules version ${this.now.version} was put in force while these waited for their versions; look, then again`,
        )
      return this.force(lanes, origin, rules, author ?? 'unknown', note)
    })
  }

  private async force(
    lanes: Lanes,
    origin: RulesVersion['origin'],
    rules: RulesFile,
    author: string,
    note: string,
  ): Promise<RulesVersion> {
    const entry = entryOf(this.now.version + 1, origin, rules, author, note)
    this.coming = rules
    try {
      await lanes.askAll('prepare', { version: entry.version, rules }).catch((error: unknown) => {
        if (origin !== 'stop') throw error
      })
      this.keep(entry)
      // A lane that starts from here on starts with it.
      this.now = entry
    } finally {
      this.coming = null
    }
    await lanes.askAll('map', { version: entry.version, rules }).catch((error: unknown) => {
      // It is in force all the same: the supervisor tells a lane that lags again.
      this.log.error({ err: error, rules: entry.version }, `a lane did not take up rules version ${entry.version}`)
    })
    return entry
  }

  /** What nobody published is not kept: a repository may be read only. */
  private keep(entry: RulesVersion): void {
    const none = this.store.versions().length === 0
    if (none && entry.origin === 'repository') return
    // What was in force before anything was published is there to go back to.
    if (none) this.store.add(this.now)
    this.store.add(entry)
  }

  private after<T>(work: () => T | Promise<T>): Promise<T> {
    const done = this.last.then(work, work)
    this.last = done.catch(() => undefined)
    return done
  }
}

/** Canaries that were taken off before and run in the rules after it: for whoever published them. */
export function runningAgain(before: RulesFile, after: RulesFile): string[] {
  const running = new Map(runningCanaries(parseRules(after)).map((canary) => [canary.id, canary]))
  return (parseRules(before).canaries ?? []).flatMap(({ id, workflow, stopped }) =>
    stopped !== undefined && running.get(id)?.workflow === workflow
      ? [`canary ${id} runs again; it was stopped at ${stopped.at}: ${stopped.why}`]
      : [],
  )
}

const names = new WeakMap<RulesFile, Named[]>()

/** Versions that rules name: asked at every look at the repository, for the same rules. */
export function namedBy(rules: RulesFile): Named[] {
  let named = names.get(rules)
  if (named === undefined) {
    named = versionsNamed(parseRules(rules))
    names.set(rules, named)
  }
  return named
}

/** Throws a Refusal with every problem of the rules. */
function checked(json: unknown, lanes: Lanes): RulesFile {
  try {
    const known = lanes.known()
    const rules = parseRules(json, known)
    compileRules(rules, known, 1)
    return rules
  } catch (error) {
    if (error instanceof RulesError) throw new Refusal(Code.INVALID_ARGUMENT, error.message)
    throw error
  }
}

/** What the repository itself says, as a version after `current`; or `current`, where it says nothing new. */
async function repositoryEntry(
  repository: Repository,
  store: RulesStore,
  current: RulesVersion | null,
): Promise<RulesVersion> {
  const rules = await repositoryRules(repository)
  if (current !== null && !isNews(rules, repository.rules === null, store, current)) return current
  compileRules(rules, repository.versions, 1)
  const version = current === null ? (rules.version ?? 1) : current.version + 1
  return entryOf(version, 'repository', rules, 'repository', fromFile)
}

const fromFile = 'the file of the repository'

function isNews(rules: RulesFile, ofFolders: boolean, store: RulesStore, current: RulesVersion): boolean {
  if (ofFolders && current.origin !== 'repository') return false
  const own =
    current.origin === 'repository'
      ? current
      : store
          .versions()
          .reverse()
          .map((version) => store.read(version))
          .find(({ origin }) => origin === 'repository')
  return own === undefined || !isDeepStrictEqual(plain(own.rules), plain(rules))
}

function entryOf(
  version: number,
  origin: RulesVersion['origin'],
  rules: RulesFile,
  author: string,
  note: string,
): RulesVersion {
  return { version, time: new Date().toISOString(), author, note, origin, rules }
}

/** As it is read back. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}
