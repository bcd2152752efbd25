import { join } from 'node:path'
import { Refusal } from '@millrace/base'
import { explain, parseRules, type RulesFile } from '@millrace/rules'
import { openLog, readConfig, type Config } from '@millrace/server'
import {
  anybody,
  Catalogue,
  LaneError,
  Lifecycle,
  Publisher,
  Supervisor,
  type Socket,
} from '@millrace/server/in-process'
import { decodeReply, denseColumn, encodeRequest, type ReplyMessage } from '@millrace/wire'
import { Violation, type Story, type Tally } from '../story'
import { SimulatedProcess } from './process'
import { settled, takeTime } from './process-time'
import { SimulatedRepository, workflows } from './repository'
import { ControlWorld } from './world'

/** Things that happen in one seed. */
const changesMax = 40
/** Microseconds after the last of them in which everybody must agree. */
const agreeUsMax = 300_000_000

/**
 * A server whose versions and rules change while it serves: its supervisor and lanes are those that serve, their
 * processes and threads are simulated. Rejects with a Violation when something does not hold that must.
 */
export async function simulateControl(seed: number, tally: Tally, story: Story | null): Promise<void> {
  const world = new ControlWorld(seed, tally, story)
  const giveBack = takeTime(world.clock)
  const simulation = new ControlSimulation(world)
  try {
    await simulation.run()
  } finally {
    giveBack()
    simulation.close()
  }
}

interface Asked {
  readonly process: SimulatedProcess
  readonly objective: string
  readonly subject: string
  readonly x: number
}

class ControlSimulation {
  private readonly log = openLog('silent')
  /** No thread and no process ends: then every request is answered as the rules say. */
  private readonly calm: boolean
  private readonly repository: SimulatedRepository
  private readonly config: Config
  private readonly processes: SimulatedProcess[] = []
  private readonly waiting = new Set<Asked>()
  /** By version, all that were in force. */
  private readonly rules = new Map<number, RulesFile>()
  private catalogue!: Catalogue
  private publisher!: Publisher
  private supervisor: Supervisor | null = null
  private lifecycle!: Lifecycle
  /** Publishes and the like that are under way. */
  private underWay = 0
  private changes = 0
  private sent = 0

  constructor(private readonly world: ControlWorld) {
    const { chance } = world
    this.calm = chance.holds(0.5)
    this.repository = new SimulatedRepository(world, this.calm)
    this.config = randomConfig(world, this.repository.path)
  }

  async run(): Promise<void> {
    const { world } = this
    await this.start()
    this.often(30, () => this.ask())
    this.happen()
    let lookUs = 0
    for (let endUs = Infinity; world.clock.nowUs() < endUs; ) {
      await this.turn()
      if (endUs === Infinity && this.changes >= changesMax) endUs = world.clock.nowUs() + agreeUsMax
      if (endUs === Infinity || world.clock.nowUs() < lookUs) continue
      lookUs = world.clock.nowUs() + 1_000_000
      if (this.disagreement() === null) break
    }
    const why = this.disagreement()
    if (why !== null) throw new Violation(`long after all: ${why}`)
  }

  close(): void {
    this.lifecycle?.close()
    this.repository.remove()
  }

  private async start(): Promise<void> {
    const { config, log, world } = this
    this.catalogue = new Catalogue({ repository: config.repository, replaceChanged: world.chance.holds(0.3) }, log)
    const folder = join(config.repository, '.millrace/rules')
    this.publisher = await Publisher.start(this.catalogue.repository, folder, log)
    const started = Supervisor.start(
      config,
      () => this.publisher.current,
      () => this.catalogue.wanted(),
      log,
      {
        freePort: () => Promise.resolve(8080),
        fork: (_, lane) => {
          const process = new SimulatedProcess(lane, world, log, this.processes.length)
          this.processes.push(process)
          return process.child
        },
      },
    )
    started.then(
      (supervisor) => (this.supervisor = supervisor),
      (error: unknown) => world.broken(`the server does not start: ${(error as Error).message}`),
    )
    while (this.supervisor === null) await this.turn()
    this.lifecycle = new Lifecycle(config, this.catalogue, this.publisher, this.supervisor, log)
  }

  private async turn(): Promise<void> {
    this.world.clock.turn()
    await settled()
    const { version, rules } = this.publisher.current
    this.rules.set(version, rules)
    if (this.world.violation !== null) throw this.world.violation
  }

  private often(ms: number, work: () => void): void {
    const { chance, clock } = this.world
    const next = (): void => {
      clock.after(ms * -Math.log(1 - chance.next()), () => {
        work()
        if (this.changes < changesMax) next()
      })
    }
    next()
  }

  /** One thing after the other. */
  private happen(): void {
    const { world, calm, publisher, lifecycle } = this
    const { chance } = world
    const kinds: (() => void)[] = [
      () => this.repository.change(),
      () => this.repository.change(),
      () => this.admin('publish', () => publisher.publish(lifecycle, { rules: this.repository.randomRules() })),
      () => this.admin('publish', () => publisher.publish(lifecycle, { rules: this.repository.randomRules() })),
      () => this.admin('rollback', () => publisher.rollback(lifecycle, undefined)),
      () => this.admin('check', () => publisher.check(lifecycle, this.repository.randomRules())),
    ]
    if (chance.holds(0.1)) kinds.push(() => this.admin('restart', () => this.supervisor!.restartAll()))
    if (!calm)
      kinds.push(
        () => this.kill(),
        () => chance.pick(this.serving())?.loseThread(),
      )
    this.often(chance.spread(30, 1000), () => {
      this.changes++
      chance.pick(kinds)()
    })
  }

  private kill(): void {
    if (this.world.chance.holds(0.5)) return
    this.world.tally.count('lanes killed')
    this.world.chance.pick(this.serving())?.kill()
  }

  /** Somebody asks for something over the admin port. */
  private admin(what: string, work: () => Promise<unknown>): void {
    const { world } = this
    this.underWay++
    work().then(
      () => {
        this.underWay--
        world.tally.count(what)
        world.tell(() => `${what}: done, version ${this.publisher.current.version} is in force`)
      },
      (error: unknown) => {
        this.underWay--
        const code = error instanceof Refusal ? error.name : error instanceof LaneError ? error.code : null
        world.tell(() => `${what}: ${code}, ${(error as Error).message}`)
        world.tally.count(`${what}: ${code}`)
        if (code === null || code === 'INTERNAL') world.broken(`${what} fails: ${(error as Error).stack}`)
      },
    )
  }

  private serving(): SimulatedProcess[] {
    return this.processes.filter(({ door, draining }) => door !== null && !draining)
  }

  /** Somebody asks a lane. */
  private ask(): void {
    const { chance } = this.world
    const process = chance.pick(this.serving())
    if (process === undefined) return
    const x = ++this.sent
    const asked = { process, objective: chance.pick(workflows), subject: `s${x}`, x }
    const { objective, subject } = asked
    const inputs = [denseColumn('x', 'u32', Uint32Array.of(x))]
    const message = encodeRequest({ id: BigInt(x), objective, subject, inputs })
    const body = new Uint8Array(message)
    this.waiting.add(asked)
    process.door!.message(this.socket(asked), body.buffer, 0, body.length)
  }

  private socket(asked: Asked): Socket {
    return {
      party: { who: anybody, inFlight: 0, arenaBytes: 0 },
      closed: false,
      lastRun: -1,
      reply: (message) => {
        try {
          this.answered(asked, decodeReply(message))
        } catch (error) {
          // Whoever calls this does not expect it.
          this.world.broken((error as Error).message)
        }
      },
      replyText: () => undefined,
      cork: (send) => send(),
    }
  }

  private answered(asked: Asked, reply: ReplyMessage): void {
    const { world } = this
    const { process, objective, subject, x } = asked
    // A lane that is gone answers nobody.
    if (!process.connected) return
    const what = `the answer of ${process.name} to request ${x} of ${objective}`
    if (!this.waiting.delete(asked)) throw world.broken(`${what} is one too many`)
    world.tally.count(reply.code)
    if ((reply.code === 'UNAVAILABLE' || reply.code === 'DEADLINE_EXCEEDED') && !this.calm) return
    if (reply.code !== 'OK') throw world.broken(`${what} is ${reply.code}: ${reply.message}`)
    const { workflow, version, rule, rulesVersion } = reply.route!
    const rules = parseRules(this.rules.get(rulesVersion)!)
    const { decision } = explain(rules, { objective, subject, context: {}, nowMs: world.clock.nowMs() })
    if (decision?.workflow !== `${workflow}@${version}` || decision.rule !== rule)
      throw world.broken(
        `${what} is of ${workflow}@${version} by ${rule}; version ${rulesVersion} of the rules says not`,
      )
    const [y] = new Uint32Array(new Uint8Array(reply.outputs[0]!.data).buffer)
    if (y !== x + 1) throw world.broken(`${what} is another's`)
  }

  /** Why it is not over yet: all lanes have the rules in force and the versions that they are to have; null: it is. */
  private disagreement(): string | null {
    const { publisher, catalogue, config } = this
    if (this.underWay > 0) return `${this.underWay} publishes are under way`
    const lanes = this.serving()
    if (lanes.length !== config.lanes) return `${lanes.length} lanes of ${config.lanes} serve`
    for (const { process } of this.waiting) if (process.connected) return `${process.name} has not answered everything`
    const { version } = publisher.current
    const wanted = catalogue.wanted()
    const named = new Set(publisher.named.map(({ name, version: number }) => `${name}@${number}`))
    for (const lane of lanes) {
      const state = lane.state
      if (state === null) return `${lane.name} does not serve`
      if (state.rulesVersion !== version)
        return `${lane.name} has rules ${state.rulesVersion}, version ${version} decides`
      const ready = new Set<string>()
      for (const { index, folder } of wanted) {
        const label = `${folder.name}@${folder.version}`
        const is = state.versions.get(index)?.state
        if (is !== 'ready' && is !== 'failed') return `${label} is ${is} on ${lane.name}`
        if (is === 'ready') ready.add(label)
      }
      // What rules name is kept until another takes its place.
      const may = new Set(wanted.map(({ index }) => index))
      for (const { index, name, version: number } of state.versions.values())
        if (named.has(`${name}@${number}`) && !ready.has(`${name}@${number}`)) may.add(index)
      for (const [index, { name, state: is }] of state.versions)
        if (!may.has(index)) return `${lane.name} has version ${index} of ${name}, ${is}, and should not`
      for (const index of lane.loaded)
        if (!may.has(index)) return `threads of ${lane.name} have version ${index}, and should not`
    }
    return null
  }
}

function randomConfig({ chance }: ControlWorld, repository: string): Config {
  const lanes = chance.whole(1, 3)
  const env = {
    MILLRACE_DECISION_KEY: 'k'.repeat(44),
    MILLRACE_LANES: String(lanes),
    MILLRACE_ARENA_BYTES: '1MiB',
    MILLRACE_SLAB_BYTES_MAX: '64KiB',
    MILLRACE_REQUEST_BYTES_MAX: '64KiB',
    MILLRACE_PUBLISH_WAIT_MS: String(chance.pick([200, 3000, 20_000])),
    // What is simulated can share a port.
    MILLRACE_TRANSPORT: 'uws',
    MILLRACE_POOL_CPU_THREADS: String(chance.whole(1, 3)),
  }
  return readConfig(env, { repository, memoryBytes: Infinity })
}
