import { isDeepStrictEqual } from 'node:util'
import { Code, Refusal } from '@millrace/base'
import { compileRules, parseRules, RulesError, runningCanaries, type RulesFile } from '@millrace/rules'
import type { Repository } from '@millrace/workflow'
import type { CanaryStop } from './canary-watch'
import type { Log } from './log'
import { checkedRules, repositoryRules } from './repository-rules'
import { RulesStore, type RulesVersion } from './rules-store'

/** The lanes, as publishing needs them. */
export interface Lanes {
  /** What each lane that serves says to it; rejects with the first refusal. */
  askAll(what: 'prepare' | 'map', request: unknown): Promise<unknown[]>
}

export interface Publish {
  readonly rules: unknown
  readonly author?: string | undefined
  readonly note?: string | undefined
}

/**
 * The rules of a server while it serves. A publish is checked in full, prepared by every lane, kept, and only then
 * mapped: until then the rules before it decide, and where any of it fails they go on doing so.
 */
export class Publisher {
  /** Publishes are one after the other. */
  private last: Promise<unknown> = Promise.resolve()

  private constructor(
    private readonly store: RulesStore,
    private repository: Repository,
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
      return new Publisher(store, repository, entry, log)
    } catch (error) {
      if (kept === null) throw error
      log.error(
        { err: error, rules: kept.version },
        `the repository's rules do not hold; version ${kept.version}, the last good one, decides: ${(error as Error).message}`,
      )
      return new Publisher(store, repository, kept, log)
    }
  }

  /**
   * Takes the rules of a repository that was changed, for lanes that `load` it anew. Rejects with what is wrong with the
   * rules, or with what `load` rejects with; what was in force before is then in force again.
   */
  reload(repository: Repository, load: () => Promise<void>): Promise<void> {
    return this.after(async () => {
      const before = { repository: this.repository, now: this.now }
      const entry = await repositoryEntry(repository, this.store, this.now)
      this.repository = repository
      this.now = entry
      try {
        await load()
      } catch (error) {
        this.repository = before.repository
        this.now = before.now
        throw error
      }
      if (entry !== before.now && this.store.versions().length > 0) this.store.add(entry)
    })
  }

  /** In force. */
  get current(): RulesVersion {
    return this.now
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
   * Puts rules in force. Rejects with a Refusal, INVALID_ARGUMENT with every problem of the file, FAILED_PRECONDITION
   * when a lane cannot serve what they name.
   */
  publish(lanes: Lanes, { rules, author, note }: Publish): Promise<RulesVersion> {
    return this.after(() => this.put(lanes, 'publish', rules, author, note ?? ''))
  }

  /** Checks rules as `publish` does, and leaves it at that. */
  check(lanes: Lanes, rules: unknown): Promise<void> {
    return this.after(async () => {
      await lanes.askAll('prepare', { version: this.now.version + 1, rules: this.checked(rules) })
    })
  }

  /** Puts an earlier version in force again, as a new one; the one before the current unless said. */
  rollback(lanes: Lanes, to: number | undefined, author?: string, note?: string): Promise<RulesVersion> {
    return this.after(() => {
      const versions = this.store.versions().filter((version) => version < this.now.version)
      const version = to ?? versions.at(-1)
      if (version === undefined)
        throw new Refusal(Code.FAILED_PRECONDITION, `there are no rules before version ${this.now.version}`)
      const { rules } = this.store.read(version)
      return this.put(lanes, 'rollback', rules, author, note ?? `version ${version} again`)
    })
  }

  /**
   * Takes canaries off that still run, by a version of the rules like any other; null when none does. Rejects as `publish`
   * does, but not for a lane: what takes a canary off asks less of it than what is in force.
   */
  stop(lanes: Lanes, stops: readonly CanaryStop[]): Promise<RulesVersion | null> {
    return this.after(() => {
      const rules = checkedRules(this.now.rules)
      const whys = new Map<string, string>()
      for (const { canary, why } of stops) whys.set(canary, whys.has(canary) ? `${whys.get(canary)}; ${why}` : why)
      const running = runningCanaries(rules).filter(({ id }) => whys.has(id))
      if (running.length === 0) return null
      const at = new Date().toISOString()
      const canaries = rules.canaries!.map((canary) =>
        running.includes(canary) ? { ...canary, stopped: { at, why: whys.get(canary.id)! } } : canary,
      )
      const note = running.map(({ id }) => `canary ${id} taken off: ${whys.get(id)!}`).join('; ')
      return this.put(lanes, 'stop', { ...rules, canaries }, 'millrace', note)
    })
  }

  private async put(
    lanes: Lanes,
    origin: RulesVersion['origin'],
    rules: unknown,
    author: string | undefined,
    note: string,
  ): Promise<RulesVersion> {
    const entry = entryOf(this.now.version + 1, origin, this.checked(rules), author ?? 'unknown', note)
    await lanes.askAll('prepare', { version: entry.version, rules: entry.rules }).catch((error: unknown) => {
      if (origin !== 'stop') throw error
    })
    // What was in force before anything was published is there to go back to.
    if (this.store.versions().length === 0) this.store.add(this.now)
    this.store.add(entry)
    // A lane that starts from here on starts with it.
    this.now = entry
    await lanes.askAll('map', { version: entry.version, rules: entry.rules }).catch((error: unknown) => {
      // It is in force all the same: the supervisor tells a lane that lags again.
      this.log.error({ err: error, rules: entry.version }, `a lane did not take up rules version ${entry.version}`)
    })
    return entry
  }

  private checked(json: unknown): RulesFile {
    try {
      const rules = checkedRules(json)
      compileRules(rules, this.repository.versions, 1)
      return rules
    } catch (error) {
      if (error instanceof RulesError) throw new Refusal(Code.INVALID_ARGUMENT, error.message)
      throw error
    }
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

/** What the repository itself says, as a version after `current`; or `current`, where it says nothing new. */
async function repositoryEntry(
  repository: Repository,
  store: RulesStore,
  current: RulesVersion | null,
): Promise<RulesVersion> {
  const rules = await repositoryRules(repository)
  const own = store
    .versions()
    .reverse()
    .map((version) => store.read(version))
    .concat(current ?? [])
    .find(({ origin }) => origin === 'repository')
  if (current !== null && own !== undefined && isDeepStrictEqual(plain(own.rules), plain(rules))) return current
  compileRules(rules, repository.versions, 1)
  const version = current === null ? (rules.version ?? 1) : current.version + 1
  return entryOf(version, 'repository', rules, 'repository', 'the file of the repository')
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
