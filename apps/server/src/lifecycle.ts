import { Code, Refusal } from '@millrace/base'
import type { RulesFile } from '@millrace/rules'
import { emptyDescription } from '@millrace/workflow'
import type { Catalogue, Entry } from './catalogue'
import type { Config } from './config'
import type { Standing } from './lane-version'
import type { LaneSnapshot } from './snapshot'
import type { Log } from './log'
import { namedBy, type Lanes, type Named, type Publisher } from './publisher'
import { repositoryRules } from './repository-rules'
import type { Supervisor } from './supervisor'

/** Between two looks while somebody waits for what is still being written. */
const waitLookMs = 200
/** Lanes that a version may end before it is not tried again. */
const deathsMax = 2

/** A version as the admin port tells of it. */
export interface WorkflowStanding extends Standing {
  readonly lanes: readonly (Pick<Standing, 'state' | 'since' | 'reason' | 'pools'> & { readonly lane: number })[]
}

/** How a version stands on all lanes together. */
interface Together {
  readonly label: string
  readonly is: 'ready' | 'pending' | 'failed'
  readonly reason: string
}

/**
 * Versions come and go: looks at the repository, has the lanes load what is new and let go of what is gone and not
 * needed, and follows the rules of the repository. What is to be is told to lanes as a whole, again and again: each sees
 * itself what is left to do.
 */
export class Lifecycle implements Lanes {
  private timer: NodeJS.Timeout | undefined
  private closed = false
  /** Whoever waits for a lane to say something. */
  private waiting: (() => void)[] = []
  /** The repository's own rules, as they were read last, and of what. */
  private own: { readonly key: string; readonly rules: RulesFile | null; readonly ofFolders: boolean } | null = null
  private following = false
  private again = false
  private said = ''
  /** The repository's own rules and those in force, where the first say nothing new. */
  private noNews = ''

  constructor(
    private readonly config: Config,
    private readonly catalogue: Catalogue,
    private readonly publisher: Publisher,
    private readonly supervisor: Supervisor,
    private readonly log: Log,
  ) {
    supervisor.events = {
      stands: (standing) => this.stands(standing),
      endedLoading: (index, why) => this.endedLoading(index, why),
    }
    this.poll()
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
  }

  known(): readonly Named[] {
    return this.catalogue.known
  }

  askAll(what: 'prepare' | 'map', request: unknown): Promise<unknown[]> {
    return this.supervisor.askAll(what, request).finally(() => this.sweep())
  }

  async ready(versions: readonly Named[]): Promise<boolean> {
    const { publishWaitMs } = this.config
    const end = performance.now() + publishWaitMs
    for (let waited = false; ; waited = true) {
      const all = versions.map(({ name, version }) => this.together(`${name}@${version}`))
      const left = all.filter(({ is }) => is !== 'ready')
      if (left.length === 0) return waited
      const late = performance.now() >= end
      if (late || left.some(({ is }) => is === 'failed')) {
        const reasons = left.map(({ label, reason }) => `${label}: ${reason}`).join('; ')
        const after = late ? ` after ${publishWaitMs} ms (MILLRACE_PUBLISH_WAIT_MS)` : ''
        throw new Refusal(Code.FAILED_PRECONDITION, `not ready${after}: ${reasons}`)
      }
      await this.change(Math.min(waitLookMs, end - performance.now()))
      this.look()
    }
  }

  /** How each version stands: on all lanes together, and on each. Those that no lane has are there too. */
  workflows(snapshots: readonly LaneSnapshot[]): WorkflowStanding[] {
    const all = snapshots.flatMap(({ lane, workflows }) => workflows.map((standing) => ({ lane, standing })))
    const entries = new Map(this.catalogue.entries.map((entry) => [entry.index, entry]))
    const indexes = [...new Set([...entries.keys(), ...all.map(({ standing }) => standing.index)])]
    return indexes
      .map((index): WorkflowStanding => {
        const on = all.filter(({ standing }) => standing.index === index)
        const lanes = on.map(({ lane, standing: { state, since, reason, pools } }) => {
          return { lane, state, since, reason, pools }
        })
        const entry = entries.get(index)
        if (on.length === 0) return { ...notBegun(entry!), lanes }
        const { state, since, reason } = least(on.map(({ standing }) => standing))
        const { standing } = on.find((one) => one.standing.state === 'ready') ?? on[0]!
        return { ...standing, state, since, reason, lanes }
      })
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version - b.version || a.index - b.index))
  }

  /** Looks at the repository now. */
  look(): void {
    if (this.closed) return
    const news = this.catalogue.look((entry) => this.entryIs(entry).is === 'failed')
    if (news) this.supervisor.tellWanted()
    this.sweep()
    this.follow()
  }

  private poll(): void {
    const { repositoryPollMs } = this.config
    if (repositoryPollMs === 0) return
    this.timer = setTimeout(() => {
      this.look()
      if (!this.closed) this.poll()
    }, repositoryPollMs).unref()
  }

  private stands({ index, state }: Standing): void {
    const entry = this.catalogue.entries.find((one) => one.index === index)
    if (entry !== undefined && !entry.tried && state !== 'gone') {
      entry.tried = true
      this.supervisor.tellWanted()
    }
    if (entry !== undefined && state === 'ready') entry.served = true
    if (entry !== undefined) this.tellReplaced(entry)
    this.sweep()
    for (const wake of this.waiting.splice(0)) wake()
    this.follow()
  }

  /** Of a version that was changed in place, what became of it. */
  private tellReplaced(entry: Entry): void {
    const [newest, before] = this.catalogue.of(entry.label)
    if (entry !== newest || before === undefined) return
    const { is, reason } = this.entryIs(entry)
    if (is === 'ready') this.log.info(`${entry.label} changed: loaded anew in ${Date.now() - entry.foundMs} ms`)
    if (is === 'failed') this.log.error(`${entry.label} changed, what served before goes on: ${reason}`)
  }

  private endedLoading(index: number, why: string): void {
    const entry = this.catalogue.entries.find((one) => one.index === index)
    // One that another lane served is not the reason; one that failed there, for a thread that ended, may be.
    if (entry === undefined || entry.served || ++entry.deaths < deathsMax) return
    entry.doomed = why
    this.log.error({ version: entry.label }, `${entry.label} is not tried again: ${why}`)
    this.supervisor.tellWanted()
    for (const wake of this.waiting.splice(0)) wake()
  }

  /** Lets go of what nobody needs: what another took the place of, and folders that are gone. */
  private sweep(): void {
    const named = new Set(this.publisher.named.map(({ name, version }) => `${name}@${version}`))
    const dropped = this.catalogue.entries.filter((entry) => {
      const [newest] = this.catalogue.of(entry.label)
      if (entry !== newest) return this.entryIs(entry).is === 'failed' || this.entryIs(newest!).is === 'ready'
      return entry.folderIs === 'gone' && !named.has(entry.label)
    })
    if (dropped.length === 0) return
    for (const entry of dropped) this.catalogue.drop(entry)
    this.supervisor.tellWanted()
  }

  /** Of those that have one label, the one that is ready counts, or the newest. */
  private together(label: string): Together {
    const entries = this.catalogue.of(label)
    if (entries.length === 0)
      return this.catalogue.isWritten(label)
        ? { label, is: 'pending', reason: 'its folder is still being written' }
        : { label, is: 'failed', reason: 'its folder is gone' }
    const all = entries.map((entry) => this.entryIs(entry))
    return all.find(({ is }) => is === 'ready') ?? all[0]!
  }

  private entryIs({ index, label, doomed }: Entry): Together {
    if (doomed !== null) return { label, is: 'failed', reason: doomed }
    const lanes = this.supervisor.standings(index)
    const failed = lanes.find(({ standing }) => standing?.state === 'failed')
    if (failed !== undefined) return { label, is: 'failed', reason: `${failed.standing!.reason} (lane ${failed.lane})` }
    const behind = lanes.filter(({ standing }) => standing?.state !== 'ready')
    if (lanes.length > 0 && behind.length === 0) return { label, is: 'ready', reason: '' }
    const where = behind.map(({ lane }) => lane).join(', ')
    return { label, is: 'pending', reason: `it is being loaded (lane ${where})` }
  }

  /** Resolves when a lane said something, or when the time is over. */
  private change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, ms))
      this.waiting.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  /** Puts the repository's rules in force where they are new, once all that they name is ready. */
  private follow(): void {
    if (this.following) {
      this.again = true
      return
    }
    this.following = true
    this.again = false
    this.followOnce()
      .catch((error: unknown) => this.say((error as Error).message))
      .finally(() => {
        this.following = false
        if (this.again && !this.closed) this.follow()
      })
  }

  private async followOnce(): Promise<void> {
    const { catalogue, publisher } = this
    const { repository } = catalogue
    const key = `${repository.rules} ${catalogue.rulesFile}\n${repository.versions.map(({ path }) => path).join('\n')}`
    if (this.own?.key !== key) {
      this.own = { key, rules: null, ofFolders: repository.rules === null }
      this.own = { ...this.own, rules: await repositoryRules(repository, { before: publisher.current.rules }) }
    }
    const { rules, ofFolders } = this.own
    const asked = `${key}\n${publisher.current.version}`
    if (rules === null || asked === this.noNews) return
    if (!publisher.isNews(rules, ofFolders)) {
      this.noNews = asked
      return
    }
    const known = new Set(catalogue.known.map(({ name, version }) => `${name}@${version}`))
    const there = namedBy(rules).filter(({ name, version }) => known.has(`${name}@${version}`))
    // A lane that says something has it looked at again. What is not known at all is refused at once.
    if (there.some(({ name, version }) => this.together(`${name}@${version}`).is === 'pending')) return
    const { version } = await publisher.follow(this, rules)
    this.log.info({ rules: version }, `rules version ${version} of the repository is in force`)
  }

  /** Once: what is wrong with the repository's rules stays wrong until somebody changes something. */
  private say(problem: string): void {
    if (problem === this.said) return
    this.said = problem
    const { version } = this.publisher.current
    this.log.error(`the repository's rules are not taken, version ${version} decides: ${problem}`)
  }
}

const order = ['failed', 'found', 'loading', 'validating', 'warming', 'ready', 'draining', 'gone']

/** Of the lanes, the one that is behind. */
function least(standings: readonly Standing[]): Standing {
  return standings.reduce((a, b) => (order.indexOf(b.state) < order.indexOf(a.state) ? b : a))
}

/** Of a version that no lane has. */
function notBegun({ index, folder, foundMs, doomed }: Entry): Standing {
  return {
    ...emptyDescription(folder, doomed === null ? 'found' : 'failed', doomed ?? 'no lane has begun with it'),
    index,
    since: new Date(foundMs).toISOString(),
    remark: null,
    pools: [],
  }
}
