import type { ColumnSpec, Signature } from '@millrace/base'
import { explain, parseRules, type Rules, type RulesFile } from '@millrace/rules'
import { isSmall, lostMost, type BatchQueue, type WaitingQueues } from '@millrace/batch'
import { readConfig, type Config, type PoolConfig } from '@millrace/server'
import {
  Road,
  RoadDoor,
  RulesFeed,
  Versions,
  type LaneVersion,
  roadPool,
  type RoadPool,
  type Routed,
} from '@millrace/server/in-process'
import type { RouteMessage } from '@millrace/wire'
import type { VersionDescription } from '@millrace/workflow'
import type { Chance } from '../chance'
import { Violation } from '../story'
import { randomInputs, randomSignature } from './columns'
import { SimulatedPost } from './connection'
import { SimulatedPool, type DeviceVersion } from './device'
import { nameOf, type Asked, type Request } from './request'
import { Copied } from './shadows'
import { randomTenant, SimulatedTenants } from './tenants'
import { WatchedArena, type World } from './world'

/** A workflow: an objective of the same name asks for it. */
interface Workflow extends Asked {
  readonly inputs: readonly ColumnSpec[]
  versions: number
}

/** Longest that a turn of the event loop may have lasted, by whose begin the road goes; microseconds. */
export const turnUsMax = 2_000

/** How long after the fact a lane may act on a deadline that passed or a caller that went, microseconds: between two sweeps. */
export const lateUsMax = 60_000

/** The objective that no rules know. */
export const unknownObjective = 'nothing'

/**
 * What `Lane` is made of, without its processes, threads and sockets: the road with its door, versions that come and go,
 * rules that are exchanged, pools that lose versions and find them again.
 */
export class SimulatedLane {
  readonly config: Config
  readonly arena: WatchedArena
  readonly pools: SimulatedPool[]
  readonly versions: Versions
  readonly road: Road
  readonly door: RoadDoor
  readonly tenants: SimulatedTenants
  readonly copied = new Copied((one, other) => this.kindOf(one) === this.kindOf(other))
  readonly workflows: readonly Workflow[]
  rules: Rules
  rulesVersion = 1
  private routed: Routed
  private readonly roadPools: RoadPool[]
  /** By pool: whether it is the turn of bulk, and how many it lost since it had one. */
  private readonly bulkTurns: { isDue: boolean; lost: number }[]
  private readonly signatures = new Map<number, Signature>()
  /** By version: what it computes. Twins compute the same. */
  private readonly kinds = new Map<number, number>()
  private nextIndex = 0

  constructor(private readonly world: World) {
    const { chance, clock } = world
    this.config = randomConfig(chance)
    const { config } = this
    this.arena = new WatchedArena(config.arenaBytes)
    this.pools = config.pools.map(({ name, threads, inFlight }, p) => {
      const options = {
        name,
        threads,
        inFlight,
        runUs: Math.round(chance.spread(20, 5000)),
        rowUs: chance.pick([0, 1, 20, 200]),
        rowsFit: chance.holds(0.15) ? chance.whole(1, 16) : Infinity,
        failing: chance.pick([0, 0, 0.02]),
        endless: chance.pick([0, 0, 0.02]),
        timeoutMs: config.batchTimeoutMs,
      }
      return new SimulatedPool(world, this.arena, options, {
        versionOf: (index) => this.deviceVersion(index),
        given: (requests, rows, version) => this.checkGiven(p, requests, rows, version),
        givenCopies: (...threads) => this.checkCopies(p, ...threads),
        begins: (request) => this.checkBegins(request),
        timedOut: (offset, requests) => this.timeOut(offset, requests),
        freed: () => this.road.dispatch(),
      })
    })
    this.roadPools = this.pools.map((pool) => {
      return roadPool(pool as unknown as RoadPool['pool'])
    })
    this.bulkTurns = this.pools.map(() => ({ isDue: false, lost: 0 }))
    this.versions = new Versions(this.arena, config, this.roadPools)
    this.workflows = Array.from({ length: chance.whole(1, 3) }, (_, i): Workflow => {
      return { objective: `w${i}`, inputs: randomInputs(chance), versions: 0 }
    })
    for (const workflow of this.workflows) for (let n = chance.whole(1, 3); n > 0; n--) this.add(workflow)
    const file = this.randomRules()
    this.rules = parseRules(file)
    this.routed = this.versions.compile(this.rules, this.rulesVersion)
    this.road = new Road({
      config,
      arena: this.arena,
      versions: this.versions,
      routed: this.routed,
      clock,
      pools: this.roadPools,
    })
    this.copied.map(this.road.answers.mapping.targets)
    this.tenants = new SimulatedTenants(world, (names) => this.road.tenants.prove(names))
    this.door = new RoadDoor(this.road, new RulesFeed({ version: 1, rules: file }), config)
  }

  get idle(): boolean {
    return this.pools.every(({ idle }) => idle)
  }

  /** What is asked for: mostly what there is. */
  randomAsked(): Asked {
    const { chance } = this.world
    const asked = chance.pick(this.workflows)
    return chance.holds(0.01) ? { ...asked, objective: unknownObjective } : asked
  }

  /** What the rules in force decide for a request, as they are read. */
  decide({ objective, subject, context }: Request): { route: RouteMessage; version: LaneVersion } | null {
    const ask = { objective, subject: subject === undefined ? null : String(subject), context }
    const { decision } = explain(this.rules, { ...ask, nowMs: this.world.clock.nowMs() })
    if (decision === null) return null
    const version = this.routed.versions.find(({ label }) => label === decision.workflow)!
    const { name: workflow, version: number } = version.folder
    const { rule, cell } = decision
    return { route: { workflow, version: number, rule, cell, rulesVersion: this.rulesVersion }, version }
  }

  /** What a version computes. */
  kindOf({ index }: LaneVersion): number {
    return this.kinds.get(index)!
  }

  /** Other rules, where everything that they name is ready. */
  publish(): void {
    const { world } = this
    const file = this.randomRules()
    const rules = parseRules(file)
    const routed = this.versions.compile(rules, this.rulesVersion + 1)
    if ([...routed.versions, ...routed.shadows].some(({ ready }) => !ready)) return
    this.rulesVersion++
    this.rules = rules
    this.map(routed)
    world.tally.count('publishes')
    world.tell(() => `rules version ${this.rulesVersion}: ${JSON.stringify(file)}`)
  }

  /** A version that was not there. */
  found(): void {
    const { world } = this
    const version = this.add(world.chance.pick(this.workflows))
    world.tell(() => `${version.label} is there, number ${version.index}, ${version.state}`)
    world.tally.count('versions found')
    this.takeOver(version)
  }

  /** A version goes that nothing needs. */
  letGo(): void {
    const { world } = this
    const unneeded = this.versions.all.filter(
      (version) =>
        ![...this.routed.versions, ...this.routed.shadows].includes(version) &&
        (version.served === null || batchesOf(version.served) === 0),
    )
    if (unneeded.length === 0) return
    const version = world.chance.pick(unneeded)
    version.leave()
    this.versions.remove(version)
    this.signatures.delete(version.index)
    const { name, version: number } = version.folder
    if (!this.versions.all.some(({ label }) => label === version.label)) {
      this.road.counts.release(name, number)
      this.road.tallies.release(name, number)
    }
    world.tell(() => `${version.label}, number ${version.index}, is gone`)
    world.tally.count('versions gone')
  }

  /** Some pools cannot run a version any more, or can again. */
  settle(abandoned: (version: LaneVersion) => void): void {
    const { world } = this
    const version = world.chance.pick(this.versions.all)
    const before = version.ready
    this.versions.settle(version, this.loaded(version))
    world.tell(
      () =>
        `${version.label} is ${version
          .describe()
          .pools.map(({ state }) => state)
          .join(', ')}`,
    )
    this.takeOver(version)
    if (version.served !== null && !version.ready) {
      if (before) world.tally.count('versions lost by every pool')
      abandoned(version)
      this.road.abandon(version.served)
    }
    this.road.dispatch()
  }

  /** What was loaded in the place of another takes over when it is ready, under the same rules. */
  private takeOver(version: LaneVersion): void {
    const { versions, shadows } = this.routed
    const replaces = [...versions, ...shadows].some((other) => other.label === version.label && other !== version)
    if (version.ready && replaces) this.map(this.versions.compile(this.rules, this.rulesVersion))
  }

  /** Queues of a pool whose rows may be taken, and have somebody to take them. */
  ready(): BatchQueue[] {
    const nowUs = this.world.clock.nowUs()
    return this.roadPools.flatMap(({ pool, interactive, bulk }) =>
      pool.free > 0
        ? [...interactive.waiting, ...bulk.waiting].filter((queue) => queue.oldestUs(nowUs) !== Infinity)
        : [],
    )
  }

  /** A row begins to run: somebody waits for it. */
  private checkBegins(request: Request): void {
    const nowUs = this.world.clock.nowUs()
    // Deadlines lie in a slab as whole microseconds.
    if (nowUs > request.dueUs + 1)
      throw new Violation(`${nameOf(request)} runs ${nowUs - request.dueUs} us after its deadline`)
    const { closedUs } = request.connection
    if (nowUs > closedUs + lateUsMax)
      throw new Violation(`${nameOf(request)} runs ${nowUs - closedUs} us after its caller went away`)
  }

  /** A pool is given a batch: interactive rows before bulk ones, but after a small batch of them one bulk batch while nobody is pressed. */
  private checkGiven(p: number, requests: ReadonlySet<Request>, rows: number, version: number): void {
    // The road goes by the time at which a turn of the event loop began.
    const nowUs = this.world.clock.nowUs() - turnUsMax
    const waits = ({ waiting }: WaitingQueues): boolean => waiting.some((queue) => queue.oldestUs(nowUs) !== Infinity)
    const { interactive, bulk } = this.roadPools[p]!
    const isBulk = [...requests].some(({ priority }) => priority === 'bulk')
    const turn = this.bulkTurns[p]!
    const bulkTurn = turn.isDue
    if (isBulk && !bulkTurn && waits(interactive))
      throw new Violation(`pool ${this.pools[p]!.name} is given bulk rows while interactive ones wait`)
    if (isBulk && bulkTurn && waits(interactive)) this.world.tally.count('bulk batches before interactive ones')
    if (!isBulk && bulkTurn && waits(bulk))
      throw new Violation(
        `pool ${this.pools[p]!.name} is given interactive rows when it is the turn of bulk ones that wait`,
      )
    const { rowsLimit, wait } = this.versions.get(version)!.served!.interactive
    turn.isDue = !isBulk && isSmall(rows, rowsLimit, wait.fixedUs, wait.rowUs)
    if (isBulk) turn.lost = 0
    if (!turn.isDue || turn.lost === lostMost || !interactive.pressed) return
    turn.isDue = false
    turn.lost++
    this.world.tally.count('turns of bulk lost to interactive requests that were refused or late')
  }

  /** A pool is given copies: nobody who waits could have the thread, and another one is left to them where there are several. */
  private checkCopies(p: number, idle: number, open: number, copying: number): void {
    const { interactive, bulk } = this.roadPools[p]!
    const queues = [...interactive.waiting, ...bulk.waiting]
    const { name } = this.pools[p]!
    const nowUs = this.world.clock.nowUs() - turnUsMax
    if (queues.some((queue) => queue.oldestUs(nowUs) !== Infinity))
      throw new Violation(`pool ${name} is given copies before requests that it could run`)
    if (idle === 1 && queues.length > 0)
      throw new Violation(`the last idle thread of pool ${name} is given copies while requests wait`)
    if (open === 1 && copying > 0) throw new Violation(`every thread of pool ${name} is given copies`)
  }

  /** A batch runs for too long: whoever waits for it is answered at once. */
  private timeOut(offset: number, requests: ReadonlySet<Request>): void {
    this.road.timedOut(offset)
    const lists = (request: Request): boolean =>
      request.connection instanceof SimulatedPost && request.connection.isList
    const waiting = [...requests].filter((one) => one.connection.open.has(one) && !lists(one))
    if (waiting.length > 0)
      throw new Violation(`${nameOf(waiting[0]!)} is not answered when its batch has run for too long`)
  }

  private map(routed: Routed): void {
    this.routed = routed
    this.road.map(routed)
    this.copied.map(this.road.answers.mapping.targets)
  }

  private add(workflow: Workflow): LaneVersion {
    const { chance } = this.world
    // Some replace one that is there.
    const isNew = workflow.versions === 0 || chance.holds(0.7)
    const number = isNew ? ++workflow.versions : chance.whole(1, workflow.versions)
    const index = this.nextIndex++
    const folder = { name: workflow.objective, version: number, path: '', workflowFile: null }
    const twins = this.versions.all.filter(({ folder }) => folder.name === workflow.objective)
    const twin = twins.length > 0 && chance.holds(0.3) ? chance.pick(twins) : null
    this.kinds.set(index, twin === null ? index : this.kindOf(twin))
    this.signatures.set(
      index,
      twin === null ? randomSignature(chance, workflow.inputs) : this.signatures.get(twin.index)!,
    )
    const version = this.versions.add({ index, folder, remark: null, doomed: null })
    const loaded = this.config.pools.map(() => this.description(version, true))
    this.versions.settle(version, loaded)
    return version
  }

  private loaded(version: LaneVersion): VersionDescription[] {
    return this.config.pools.map(() => this.description(version, this.world.chance.holds(0.6)))
  }

  private description({ index, folder }: LaneVersion, ready: boolean): VersionDescription {
    const { name, version } = folder
    const { chance } = this.world
    return {
      name,
      version,
      state: ready ? 'ready' : 'failed',
      reason: ready ? null : 'it cannot be loaded',
      signature: this.signatures.get(index)!,
      batchRowsMax: chance.pick([1, 8, 512]),
      batchWaitUs: chance.pick([0, 0, 2000]),
      models: [],
      facts: [],
      golden: null,
      warmed: true,
      loadMs: 0,
    }
  }

  private deviceVersion(index: number): DeviceVersion | undefined {
    const version = this.versions.get(index)
    return version && { kind: this.kindOf(version), label: version.label, signature: this.signatures.get(index)! }
  }

  /** Rules over the versions that are there, ready or not. */
  private randomRules(): RulesFile {
    const { chance } = this.world
    const versionOf = ({ objective }: Workflow): string =>
      chance.pick(this.versions.all.filter(({ folder }) => folder.name === objective)).label
    const defaults = this.workflows.map((one) => [one, versionOf(one)] as const)
    return {
      attributes: { country: 'text', age: 'number', kids: 'truth' },
      shadows: [...defaults, ...defaults].flatMap(([one, label], i) => {
        const workflow = versionOf(one)
        const shadow = { id: `shadow-${i}`, objectives: [one.objective], workflow, percent: chance.pick([30, 100]) }
        return workflow !== label && chance.holds(0.4) ? [{ ...shadow, in_flight_max: chance.pick([1, 256]) }] : []
      }),
      objectives: Object.fromEntries(defaults.map(([one, label]) => [one.objective, { default: label }])),
      conditions: this.workflows
        .filter(() => chance.holds(0.2))
        .map((one, i) => ({
          id: `condition-${i}`,
          objectives: [one.objective],
          when: chance.holds(0.5) ? { country: ['DE'] } : { tenant: [randomTenant(chance)] },
          workflow: versionOf(one),
        })),
      limits: Array.from({ length: chance.pick([0, 0, 0, 2]) }, (_, i) => ({
        id: `limit-${i}`,
        ...(chance.holds(0.5) && { objectives: [chance.pick(this.workflows).objective] }),
        tenant: chance.pick([undefined, '*', randomTenant(chance)]),
        ...(chance.holds(0.5)
          ? { requests_in_flight: chance.whole(1, 8) }
          : { requests_per_second: chance.spread(1, 1000), burst: chance.pick([undefined, 1, 10]) }),
      })),
      experiments: this.workflows
        .filter(() => chance.holds(0.4))
        .map((one, i) => ({
          id: `experiment-${i}`,
          objectives: [one.objective],
          percent: chance.whole(1, 99),
          cells: ['a', 'b'].map((name) => ({ name, weight: chance.whole(1, 3), workflow: versionOf(one) })),
        })),
      canaries: this.workflows
        .filter(() => chance.holds(0.2))
        .map((one, i) => ({
          id: `canary-${i}`,
          objectives: [one.objective],
          workflow: versionOf(one),
          percent: chance.whole(1, 99),
        })),
    }
  }
}

function batchesOf({ interactive, bulk, shadow }: NonNullable<LaneVersion['served']>): number {
  return interactive.batches + bulk.batches + shadow.batches
}

function randomConfig(chance: Chance): Config {
  const config = readConfig({ MILLRACE_DECISION_KEY: 'k'.repeat(44) }, { repository: 'none' })
  const arenaBytes = 2 ** chance.whole(15, 22)
  const batchRowsMax = chance.pick([1, 4, 16, 64, 256])
  const queueRowsMax = batchRowsMax * chance.whole(1, 8)
  const pools = Array.from({ length: chance.whole(1, 2) }, (_, p): PoolConfig => {
    return {
      ...config.pools[0]!,
      name: `p${p}`,
      device: 'cpu',
      threads: chance.whole(1, 3),
      inFlight: chance.whole(1, 2),
      batch: chance.pick([null, null, 'auto', 2, 32]),
      batchWaitUs: chance.pick([null, null, 0, 3000]),
    }
  })
  return {
    ...config,
    arenaBytes,
    slabBytesMax: Math.min(arenaBytes / 2, 2 ** chance.whole(13, 20)),
    slabStringBytes: chance.pick([0, 16, 64, 256]),
    batchRowsMax,
    queueRowsMax,
    requestRowsMax: Math.min(queueRowsMax, chance.pick([16, 100, 1000])),
    batchTimeoutMs: chance.pick([20, 200, 10_000]),
    shadowRunMs: chance.pick([10, 2000]),
    requestsInFlightMax: chance.pick([4, 32, 10_000]),
    socketInFlightMax: chance.pick([2, 1000, 1000, 1000]),
    fairWaitMs: chance.pick([1, 20, 100]),
    deadlineMsDefault: chance.pick([30, 300, 3000]),
    pools,
  }
}
