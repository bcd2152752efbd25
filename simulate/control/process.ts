import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { Refusal, type Arena } from '@millrace/base'
import type { Config, Log } from '@millrace/server'
import {
  Lane,
  type Door,
  type FromLane,
  type LaneOutside,
  type LanePool,
  type ToLane,
  type Transport,
} from '@millrace/server/in-process'
import { SimulatedLanePool } from './pool'
import type { ControlWorld } from './world'

type Standing = ReturnType<Lane['snapshot']>['workflows'][number]

/** The process of a lane: the lane itself is there, what it opens of the machine is simulated. */
export class SimulatedProcess extends EventEmitter {
  readonly pid: number
  connected = true
  /** Where its requests come in; null while it does not serve. */
  door: Door | null = null
  /** The lane answers what it accepted, and takes nothing new. */
  draining = false
  private lane: Lane | null = null
  private readonly pools: SimulatedLanePool[] = []
  /** When the last message that is under way arrives, either way. */
  private readonly arrivesUs = { there: 0, back: 0 }

  constructor(
    readonly index: number,
    private readonly world: ControlWorld,
    private readonly log: Log,
    pid: number,
  ) {
    super()
    this.pid = pid
  }

  get child(): ChildProcess {
    return this as unknown as ChildProcess
  }

  get name(): string {
    return `lane ${this.index} (${this.pid})`
  }

  /** Rules that it answers by, and how the versions stand that it has; null where there is no lane. */
  get state(): { readonly rulesVersion: number; readonly versions: ReadonlyMap<number, Standing> } | null {
    if (this.lane === null) return null
    const { rulesVersion, workflows } = this.lane.snapshot()
    return { rulesVersion, versions: new Map(workflows.map((standing) => [standing.index, standing])) }
  }

  /** What its threads have loaded, all together. */
  get loaded(): Set<number> {
    return new Set(this.pools.flatMap((pool) => pool.all.flatMap(({ loaded }) => [...loaded])))
  }

  send(message: ToLane, done: () => void): boolean {
    this.travel('there', structuredClone(message), (one) => void this.receive(one))
    done()
    return true
  }

  kill(): boolean {
    this.end(null, 'SIGKILL')
    return true
  }

  /** One of its threads ends. */
  loseThread(): void {
    this.world.chance.pick(this.pools).lose()
  }

  end(code: number | null, signal: string | null): void {
    if (!this.connected) return
    this.world.tell(() => `${this.name} ends: ${signal ?? `exit code ${code}`}`)
    this.connected = false
    this.door = null
    for (const pool of this.pools) pool.endAll()
    this.world.clock.after(1, () => this.emit('exit', code, signal))
  }

  private async receive(message: ToLane): Promise<void> {
    if (message.kind === 'ask') return this.answer(message)
    if (message.kind === 'start') return this.start(message)
    this.draining = true
    await this.lane?.drain()
    this.end(0, null)
  }

  private async start({ lane, config, rules, versions }: ToLane & { kind: 'start' }): Promise<void> {
    const stands = (standing: Parameters<Parameters<typeof Lane.start>[5]>[0]): void =>
      this.tell({ kind: 'stands', standing })
    try {
      this.lane = await Lane.start(config, lane, rules, versions, this.log, stands, this.outside())
      this.world.tell(() => `${this.name} serves`)
      this.tell({ kind: 'ready', port: this.lane.port })
    } catch (error) {
      this.tell({ kind: 'failed', message: (error as Error).message })
      this.world.clock.after(5, () => this.end(1, null))
    }
  }

  private answer({ id, what, request }: ToLane & { kind: 'ask' }): void {
    try {
      if (this.lane === null) throw new Error('the lane is not serving')
      const value = this.lane[what](request as never)
      if (what === 'map') this.world.tell(() => `${this.name} has rules version ${this.state!.rulesVersion} in force`)
      this.tell({ kind: 'answer', id, value })
    } catch (error) {
      const { message } = error as Error
      this.tell({ kind: 'no', id, code: error instanceof Refusal ? error.name : 'INTERNAL', message })
    }
  }

  private tell(message: FromLane): void {
    this.travel('back', message, (one) => this.emit('message', one))
  }

  /** Messages arrive in their order, or not at all. */
  private travel<T>(way: 'there' | 'back', message: T, arrive: (message: T) => void): void {
    const { chance, clock } = this.world
    this.arrivesUs[way] = Math.max(this.arrivesUs[way], clock.nowUs() + chance.spread(50, 5000))
    clock.at(this.arrivesUs[way], () => this.connected && arrive(message))
  }

  private outside(): LaneOutside {
    return {
      openPool: (p, _lane, config, arena, _log, events) => this.openPool(p, config, arena, events),
      openTransport: (_kind, { door, port }) => {
        this.door = door
        return Promise.resolve(this.transport(port))
      },
    }
  }

  private openPool(
    p: number,
    { pools }: Config,
    arena: Arena,
    events: ConstructorParameters<typeof SimulatedLanePool>[5],
  ): LanePool {
    const { name, threads, inFlight } = pools[p]!
    const pool = new SimulatedLanePool(name, threads, inFlight, arena, this.world, events, (why) =>
      this.end(null, `SIGSEGV, ${why}`),
    )
    this.pools.push(pool)
    const { opened } = pool
    return {
      pool: pool as unknown as LanePool['pool'],
      seats: null as unknown as LanePool['seats'],
      device: 'cpu',
      opened,
    }
  }

  private transport(port: number): Transport {
    return {
      port,
      kind: 'node',
      sockets: 0,
      unreadBytes: 0,
      sending: false,
      telling: false,
      renewTls: () => Promise.resolve(),
      stopListening: () => undefined,
      close: () => (this.door = null),
    } as Transport
  }
}
