import type { ColumnSpec, Signature } from '@millrace/base'
import { explain, parseRules, type Rules, type RulesFile } from '@millrace/rules'
import { isSmall, lostMost, type BatchQueue } from '@millrace/batch'
import { readConfig, type Config, type PoolConfig } from '@millrace/server'
import {
  Road,
  RoadDoor,
  RulesFeed,
  Versions,
  type LaneVersion,
  type RoadPool,
  type Routed,
} from '@millrace/server/in-process'
import type { RouteMessage } from '@millrace/wire'
import type { VersionDescription } from '@millrace/workflow'
import type { Chance } from '../chance'
import { Violation } from '../story'
import { randomInputs, randomSignature } from './columns'
import { SimulatedPool, type DeviceVersion } from './device'
import { nameOf, type Asked, type Request } from './request'
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
  readonly workflows: readonly Workflow[]
  rules: Rules
  rulesVersion = 1
  private routed: Routed
  private readonly roadPools: RoadPool[]
  /** By pool: whether it is the turn of bulk, and how many it lost since it had one. */
  private readonly bulkTurns: { isDue: boolean; lost: number }[]
  private readonly signatures = new Map<number, Signature>()
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
      }
      return new SimulatedPool(world, this.arena, options, {
        versionOf: (index) => this.deviceVersion(index),
        given: (requests, rows, version) => this.checkGiven(p, requests, rows, version),
        begins: (request) => this.checkBegins(request),
        freed: () => this.road.dispatch(),
      })
    })
    this.roadPools = this.pools.map((pool) => {
      return { pool: pool as unknown as RoadPool['pool'], interactive: [], bulk: [], shadow: [] }
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

  /** Other rules, where everything that they name is ready. */
  publish(): void {
    const { world } = this
    const file = this.randomRules()
    const rules = parseRules(file)
    const routed = this.versions.compile(rules, this.rulesVersion + 1)
    if (routed.versions.some(({ ready }) => !ready)) return
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
        !this.routed.versions.includes(version) &&
        (version.served === null || version.served.interactive.batches + version.served.bulk.batches === 0),
    )
    if (unneeded.length === 0) return
    const version = world.chance.pick(unneeded)
    version.leave()
    this.versions.remove(version)
    this.signatures.delete(version.index)
    const { name, version: number } = version.folder
    if (!this.versions.all.some(({ label }) => label === version.label)) this.road.counts.release(name, number)
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
    const replaces = this.routed.versions.some((other) => other.label === version.label && other !== version)
    if (version.ready && replaces) this.map(this.versions.compile(this.rules, this.rulesVersion))
  }

  /** Queues of a pool whose rows may be taken, and have somebody to take them. */
  ready(): BatchQueue[] {
    const nowUs = this.world.clock.nowUs()
    return this.roadPools.flatMap(({ pool, interactive, bulk }) =>
      pool.free > 0 ? [...interactive, ...bulk].filter((queue) => queue.oldestUs(nowUs) !== Infinity) : [],
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
    const waits = (queues: readonly BatchQueue[]): boolean => queues.some((queue) => queue.oldestUs(nowUs) !== Infinity)
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
    if (!turn.isDue || turn.lost === lostMost || !interactive.some(({ pressed }) => pressed)) return
    turn.isDue = false
    turn.lost++
    this.world.tally.count('turns of bulk lost to interactive requests that were refused or late')
  }

  private map(routed: Routed): void {
    this.routed = routed
    this.road.map(routed)
  }

  private add(workflow: Workflow): LaneVersion {
    const { chance } = this.world
    // Some replace one that is there.
    const isNew = workflow.versions === 0 || chance.holds(0.7)
    const number = isNew ? ++workflow.versions : chance.whole(1, workflow.versions)
    const index = this.nextIndex++
    const folder = { name: workflow.objective, version: number, path: '', workflowFile: null }
    this.signatures.set(index, randomSignature(chance, workflow.inputs))
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
    return version && { index, label: version.label, signature: this.signatures.get(index)! }
  }

  /** Rules over the versions that are there, ready or not. */
  private randomRules(): RulesFile {
    const { chance } = this.world
    const versionOf = ({ objective }: Workflow): string =>
      chance.pick(this.versions.all.filter(({ folder }) => folder.name === objective)).label
    return {
      attributes: { country: 'text', age: 'number', kids: 'truth' },
      objectives: Object.fromEntries(this.workflows.map((one) => [one.objective, { default: versionOf(one) }])),
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
    requestsInFlightMax: chance.pick([4, 32, 10_000]),
    socketInFlightMax: chance.pick([2, 1000, 1000, 1000]),
    fairWaitMs: chance.pick([1, 20, 100]),
    deadlineMsDefault: chance.pick([30, 300, 3000]),
    pools,
  }
}
