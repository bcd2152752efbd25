import type { PoolThread } from '@millrace/pool'
import {
  emptyDescription,
  loadStates,
  type VersionDescription,
  type VersionFolder,
  type VersionState,
} from '@millrace/workflow'
import type { Wanted } from './lane-messages'
import type { PoolState } from './placement'
import type { ServedVersion } from './served-version'

/** How a version stands on a lane. */
export interface Standing extends VersionDescription {
  /** The number that the supervisor gave it. */
  readonly index: number
  /** When it entered its state; ISO 8601. */
  readonly since: string
  /** What is odd about its folder; null when nothing is. */
  readonly remark: string | null
  readonly pools: readonly PoolState[]
}

/** A version on one pool of the lane. */
export class OnPool {
  /** By thread that has begun to load it: what came of it, null while it loads. */
  readonly threads = new Map<PoolThread, VersionDescription | null>()
  /** By `loadStates`: when a thread entered it first. Threads write it. */
  readonly entered = new Float64Array(new SharedArrayBuffer(8 * loadStates.length))
  /** Why it is not loaded any more: threads ended while they did. */
  doomed: string | null = null
  /** Loads that a thread ended in while it had batches too; or, counted twice, while it had not. */
  deaths = 0
  /** What came of it, as far as that is known: the least that one of the threads has. */
  outcome: VersionDescription | null = null
  private settled: { readonly state: VersionState; readonly reason: string | null; readonly ms: number } | null = null

  constructor(
    readonly pool: string,
    readonly device: string,
    /** The pool is configured to take it. */
    readonly takes: boolean,
    private readonly foundMs: number,
  ) {}

  /** False when it stood so before. */
  settle(state: VersionState, reason: string | null): boolean {
    if (this.settled?.state === state && this.settled.reason === reason) return false
    this.settled = { state, reason, ms: Date.now() }
    return true
  }

  describe(): PoolState {
    const { pool, device } = this
    const { state, reason, ms } = this.settled ?? { ...this.underWay(), reason: null }
    return { pool, device, state, since: new Date(ms).toISOString(), reason }
  }

  /** How far any thread is with it. */
  get reached(): VersionState {
    return this.underWay().state
  }

  /** The furthest that any thread is: it only goes forward. */
  private underWay(): { state: VersionState; ms: number } {
    for (let i = loadStates.length - 1; i >= 0; i--)
      if (this.entered[i]! > 0) return { state: loadStates[i]!, ms: this.entered[i]! }
    return { state: 'found', ms: this.foundMs }
  }
}

/** A version as a lane has it, from when it is found until it is gone. */
export class LaneVersion {
  readonly index: number
  readonly folder: VersionFolder
  /** `name@version`; while one is loaded in the place of another, both have it. */
  readonly label: string
  /** Where it waits and what it took; null until it was ready once. */
  served: ServedVersion | null = null
  /** As it was loaded, or why not. */
  description: VersionDescription
  remark: string | null
  private settled: { readonly state: VersionState; readonly ms: number } | null = null

  constructor(
    { index, folder, remark }: Wanted,
    /** By pool of the lane. */
    readonly pools: readonly OnPool[],
  ) {
    this.index = index
    this.folder = folder
    this.remark = remark
    this.label = `${folder.name}@${folder.version}`
    this.description = { ...emptyDescription(folder, 'found', ''), reason: null }
  }

  /** Some pool runs it. */
  get ready(): boolean {
    return this.state === 'ready'
  }

  get state(): VersionState {
    return this.settled?.state ?? this.underWay().state
  }

  /** It was wanted, and is not any more. */
  get leaving(): boolean {
    return this.settled?.state === 'draining' || this.settled?.state === 'gone'
  }

  /** It is not wanted any more; false when that was known. */
  leave(): boolean {
    return !this.leaving && this.enter('draining')
  }

  /** Ready or failed, draining, gone: says whether that is news. */
  enter(state: VersionState): boolean {
    if (this.settled?.state === state) return false
    this.settled = { state, ms: Date.now() }
    return true
  }

  describe(): Standing {
    const { state, ms } = this.settled ?? this.underWay()
    const { index, remark, description } = this
    const pools = this.pools.map((on) => on.describe())
    const reason = state === 'failed' ? description.reason : null
    return { ...description, state, reason, index, remark, since: new Date(ms).toISOString(), pools }
  }

  /** The furthest that any pool is. */
  private underWay(): { state: VersionState; ms: number } {
    let furthest: { state: VersionState; ms: number } | null = null
    for (const on of this.pools) {
      const { state, since } = on.describe()
      const at = loadStates.indexOf(state === 'ready' ? 'warming' : state)
      if (furthest === null || at > loadStates.indexOf(furthest.state))
        furthest = { state: at < 0 ? 'found' : loadStates[at]!, ms: Date.parse(since) }
    }
    return furthest!
  }
}
