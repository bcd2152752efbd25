import type { ChildProcess } from 'node:child_process'
import { parseDevice } from '@millrace/pool'
import type { Config } from './config'
import { GpuMemory, type GpuFigures } from './gpu-memory'
import { laneEnvironment } from './lane-environment'
import type { FromLane, NumberedRules, Question, ToLane, Wanted } from './lane-messages'
import { laneProcesses, type LaneProcesses } from './lane-processes'
import type { LaneSeats } from './lane-seats'
import type { Standing } from './lane-version'
import type { Log } from './log'
import { uwsProblem } from './open-transport'
import { RollingRestart, type Replaced } from './rolling-restart'
import { addRetired, emptyRetired, type Retired } from './retired'
import type { LaneGlance, LaneSnapshot } from './snapshot'
import { TenantNames } from './tenant-counts'

const backOffMs = { first: 100, most: 10_000 }
/** A lane that served this long starts over with the first back-off. */
const healthyMs = 30_000
const pollMs = 1_000
const gpuPollMs = 5_000
const askMsMax = 5_000

/** A refusal or failure that a lane answered a question with. */
export class LaneError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

interface Asked {
  readonly what: Question
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

interface Slot {
  readonly index: number
  process: ChildProcess | null
  serving: boolean
  startedMs: number
  backOffMs: number
  restarts: number
  /** It is ended on purpose: nobody starts it again. */
  leaving: boolean
  last: LaneSnapshot | null
  /** What it was told to have, and whether it has not said that it heard. */
  wants: readonly Wanted[]
  lags: boolean
  /** By number of the version, as the lane told it. */
  readonly stands: Map<number, Standing>
  readonly asked: Map<number, Asked>
}

function newSlot(index: number): Slot {
  return {
    index,
    process: null,
    serving: false,
    startedMs: 0,
    backOffMs: backOffMs.first,
    restarts: 0,
    leaving: false,
    last: null,
    wants: [],
    lags: false,
    stands: new Map(),
    asked: new Map(),
  }
}

/** What happens in lanes that serves and starts. */
export interface LaneEvents {
  /** A version became ready or failed on a lane, or is gone from it. */
  stands(standing: Standing): void
  /** A lane ended while it loaded a version. */
  endedLoading(index: number, why: string): void
}

/** Starts the lanes, starts them again when they end, and speaks for all of them. */
export class Supervisor {
  /** Counters of lanes that are gone, so that what is scraped never goes back. */
  readonly retired: Retired = emptyRetired()
  /** Called each second, when the lanes were asked how they are. */
  onPolled: () => void = () => undefined
  /** What the metrics name. */
  readonly tenantNames: TenantNames
  events: LaneEvents | null = null
  private readonly slots: Slot[]
  /** Lanes that are to take the place of another, and those whose place was taken, until they are gone. */
  private readonly beside = new Set<Slot>()
  private readonly rolling: RollingRestart
  private port = 0
  private nextId = 1
  private stopping = false
  private readonly polling: NodeJS.Timeout
  private readonly gpuMemory: GpuMemory | null

  private constructor(
    readonly config: Config,
    private readonly rules: () => NumberedRules,
    private readonly wanted: () => readonly (Wanted & { readonly tried: boolean })[],
    private readonly log: Log,
    private readonly processes: LaneProcesses,
  ) {
    this.tenantNames = new TenantNames(config.metricsTenantsMax)
    this.slots = Array.from({ length: config.lanes }, (_, index) => newSlot(index))
    this.rolling = new RollingRestart(
      config.lanes,
      sharesPort(config) ? null : 'without uWebSockets.js two lanes cannot share the port: restart the server',
      (lane) => this.replace(lane),
    )
    this.polling = setInterval(() => void this.poll(), pollMs).unref()
    const gpus = config.pools.some(({ device }) => parseDevice(device).kind !== 'cpu')
    this.gpuMemory = gpus ? new GpuMemory(gpuPollMs) : null
  }

  /**
   * Resolves when every lane serves; rejects, with all lanes ended, when one cannot start.
   *
   * @param rules those in force: what a lane starts with, and is told again when it lags
   * @param wanted the versions that lanes are to have
   */
  static async start(
    config: Config,
    rules: () => NumberedRules,
    wanted: () => readonly (Wanted & { readonly tried: boolean })[],
    log: Log,
    processes = laneProcesses,
  ): Promise<Supervisor> {
    const allowed = oneLaneWithoutUws(config, log)
    // It has to be known, for lanes that share it (SO_REUSEPORT) and for one that is started again, and has to be free:
    // a second server would share it too, without a word.
    const port = await processes.freePort('MILLRACE_PORT', allowed.host, allowed.port)
    const supervisor = new Supervisor({ ...allowed, port }, rules, wanted, log, processes)
    for (const warning of [...config.warnings, ...laneEnvironment(config, 0, process.env).warnings]) log.warn(warning)
    try {
      for (const slot of supervisor.slots) supervisor.port = await supervisor.launch(slot)
      return supervisor
    } catch (error) {
      await supervisor.stop()
      throw error
    }
  }

  /** What the driver says of the GPUs of this machine, where a pool has one and the driver can be asked. */
  get gpus(): readonly GpuFigures[] {
    return this.gpuMemory?.figures ?? []
  }

  /** The data port. */
  get dataPort(): number {
    return this.port
  }

  /** By lane, how often it was started again. */
  get restarts(): readonly number[] {
    return this.slots.map(({ restarts }) => restarts)
  }

  get lanes(): number {
    return this.slots.length
  }

  /** Fresh snapshots of the lanes that serve; a scrape begins what is measured from scrape to scrape anew. */
  async snapshots(what: 'snapshot' | 'scrape' = 'snapshot'): Promise<LaneSnapshot[]> {
    return this.askServing(async (slot) => (await this.ask(slot, what)) as LaneSnapshot)
  }

  /** Where the threads of the lanes that serve sit, as the kernel tells. */
  async seats(): Promise<LaneSeats[]> {
    return this.askServing(async (slot) => (await this.ask(slot, 'seats')) as LaneSeats)
  }

  /** What each lane that is there said last, also one that does not answer just now: its counts still count. */
  get lastSnapshots(): LaneSnapshot[] {
    return [...this.slots, ...this.beside].flatMap(({ last }) => last ?? [])
  }

  /** Asks every lane that serves; rejects with the first LaneError, when all have answered. */
  async askAll(what: Question, request?: unknown): Promise<unknown[]> {
    const serving = this.slots.filter((slot) => slot.serving)
    if (serving.length === 0) throw new LaneError('UNAVAILABLE', 'no lane serves')
    const answers = await Promise.allSettled(serving.map((slot) => this.ask(slot, what, request)))
    const no = answers.find((answer) => answer.status === 'rejected')
    if (no !== undefined) throw no.reason
    return answers.map((answer) => (answer as PromiseFulfilledResult<unknown>).value)
  }

  /** Asks any lane that serves; rejects with a LaneError. */
  async askAny(what: Question, request?: unknown): Promise<unknown> {
    const slot = this.slots.find(({ serving }) => serving)
    if (slot === undefined) throw new LaneError('UNAVAILABLE', 'no lane serves')
    return this.ask(slot, what, request)
  }

  /**
   * Replaces every lane, one after the other, each drained when its successor is ready on the same port. Rejects with a
   * Refusal or a LaneError when one is not: that lane and those after it go on.
   */
  restartAll(): Promise<Replaced[]> {
    return this.rolling.run()
  }

  /** Drains every lane and waits until they are gone. */
  async stop(): Promise<void> {
    this.stopping = true
    clearInterval(this.polling)
    this.gpuMemory?.close()
    await Promise.all([...this.slots, ...this.beside].map((slot) => this.end(slot)))
  }

  /** Has the lanes load what they are to have now, and let go of what they are not. */
  tellWanted(): void {
    for (const slot of this.slots) if (slot.serving) this.want(slot)
  }

  /** By lane that serves: how a version stands; undefined until the lane has said. */
  standings(index: number): { readonly lane: number; readonly standing: Standing | undefined }[] {
    return this.slots
      .filter(({ serving }) => serving)
      .map((slot) => ({ lane: slot.index, standing: slot.stands.get(index) }))
  }

  /** Resolves with the lane's port when it serves. */
  private launch(slot: Slot): Promise<number> {
    const child = this.processes.fork(this.config, slot.index)
    slot.process = child
    slot.startedMs = performance.now()
    const config = { ...this.config, port: this.port === 0 ? this.config.port : this.port }
    const { version, rules } = this.rules()
    const versions = this.wantedBy(slot)
    slot.stands.clear()
    slot.wants = versions
    tell(child, { kind: 'start', lane: slot.index, config, rules: { version, rules }, versions })
    return new Promise((resolve, reject) => {
      child.on('message', (message: FromLane) => {
        if (message.kind === 'ready') {
          slot.serving = true
          this.keepUp(slot, version)
          this.want(slot)
          resolve(message.port)
        } else if (message.kind === 'failed') reject(new Error(message.message))
        else if (message.kind === 'stands') this.stands(slot, message.standing)
        else if (message.kind === 'drained') slot.last = message.snapshot
        else this.answered(slot, message)
      })
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        const why = signal ?? `exit code ${code}`
        reject(new Error(`lane ${slot.index} ended before it served (${why})`))
        // What it said last may not have been read yet.
        if (child.connected) child.once('disconnect', () => this.ended(slot, why))
        else this.ended(slot, why)
      })
    })
  }

  /** Starts a lane in the place of another, which drains when that is ready, and goes on when it is not. */
  private async replace(index: number): Promise<Replaced> {
    const before = this.slots[index]!
    const begun = performance.now()
    const { next, snapshot } = await this.successor(before)
    this.slots[index] = next
    this.beside.delete(next)
    this.beside.add(before)
    next.leaving = false
    next.restarts = before.restarts
    this.keepUp(next, snapshot.rulesVersion)
    this.want(next)
    const startMs = Math.round(performance.now() - begun)
    this.log.info({ lane: index }, `lane ${index} is replaced: its successor serves after ${startMs} ms`)
    await this.end(before)
    if (before.process === null) this.beside.delete(before)
    return { lane: index, pid: snapshot.pid, startMs, drainMs: Math.round(performance.now() - begun) - startMs }
  }

  /** A lane that is ready as far as the one before it is. */
  private async successor(before: Slot): Promise<{ readonly next: Slot; readonly snapshot: LaneSnapshot }> {
    // Until it has its place nobody starts it again.
    const next: Slot = { ...newSlot(before.index), leaving: true }
    this.beside.add(next)
    try {
      await this.launch(next)
      const [snapshot, last] = (await Promise.all(
        [next, before].map((slot) => (slot.serving ? this.ask(slot, 'snapshot') : null)),
      )) as [LaneSnapshot, LaneSnapshot | null]
      const worse = snapshot.notReady.filter((reason) => last?.notReady.includes(reason) !== true)
      if (last !== null && worse.length > 0) throw new Error(worse.join('; '))
      if (this.stopping) throw new Error('the server stops')
      return { next, snapshot }
    } catch (error) {
      await this.end(next)
      this.beside.delete(next)
      const why = error instanceof Error ? error.message : String(error)
      throw new LaneError('FAILED_PRECONDITION', `lane ${before.index} was not replaced, it goes on: ${why}`)
    }
  }

  private async poll(): Promise<void> {
    // Of a lane that is new there is nothing to add a glance to.
    await this.askServing((slot) => this.ask(slot, slot.last === null ? 'snapshot' : 'glance'))
    for (const slot of this.slots)
      if (slot.serving) {
        this.keepUp(slot, slot.last?.rulesVersion)
        if (slot.lags) this.want(slot)
      }
    this.onPolled()
  }

  /** Tells a lane the rules in force, where it has others: it started, or did not answer, while they were published. */
  private keepUp(slot: Slot, version: number | undefined): void {
    const { version: current, rules } = this.rules()
    if (version === undefined || version === current) return
    this.ask(slot, 'map', { version: current, rules }).catch((error: unknown) =>
      this.log.error({ lane: slot.index, err: error }, `lane ${slot.index} lags at rules version ${version}`),
    )
  }

  /** Versions that no lane knows yet are tried by one that serves, where there is one: what ends it ends no other. */
  private wantedBy(slot: Slot): Wanted[] {
    const first = this.slots.find(({ serving }) => serving) ?? slot
    return this.wanted().filter(({ tried }) => tried || slot === first)
  }

  private want(slot: Slot): void {
    slot.wants = this.wantedBy(slot)
    slot.lags = true
    this.ask(slot, 'want', slot.wants).then(
      () => (slot.lags = false),
      // Told again with the next poll.
      (error: unknown) =>
        this.log.warn({ lane: slot.index, err: error }, `lane ${slot.index} was not told its versions`),
    )
  }

  private stands(slot: Slot, standing: Standing): void {
    if (standing.state === 'gone') slot.stands.delete(standing.index)
    else slot.stands.set(standing.index, standing)
    this.events?.stands(standing)
  }

  private ended(slot: Slot, why: string): void {
    const served = slot.serving
    const loading = slot.wants.find(({ index, doomed }) => doomed === null && !slot.stands.has(index))
    slot.serving = false
    slot.process = null
    for (const { reject } of slot.asked.values()) reject(new LaneError('UNAVAILABLE', `lane ${slot.index} ended`))
    slot.asked.clear()
    if (slot.last !== null) addRetired(this.retired, slot.last)
    slot.last = null
    this.beside.delete(slot)
    // It loads one version after the other.
    if ((served || slot.restarts > 0) && !this.stopping && !slot.leaving && loading !== undefined)
      this.events?.endedLoading(loading.index, `lane ${slot.index} ended when it loaded it (${why})`)
    // One that never served at all is the start's failure, unless it was started again.
    if (this.stopping || slot.leaving || (!served && slot.restarts === 0)) return
    this.restart(slot, why)
  }

  private restart(slot: Slot, why: string): void {
    if (performance.now() - slot.startedMs > healthyMs) slot.backOffMs = backOffMs.first
    const wait = slot.backOffMs
    slot.backOffMs = Math.min(backOffMs.most, wait * 2)
    slot.restarts++
    this.log.error({ lane: slot.index, why }, `lane ${slot.index} ended (${why}); it is started again in ${wait} ms`)
    setTimeout(() => {
      if (this.stopping || slot.leaving) return
      this.launch(slot).then(
        () => this.log.info({ lane: slot.index }, `lane ${slot.index} serves again`),
        // Its end starts the next attempt.
        (error: unknown) => this.log.error({ lane: slot.index, err: error }, `lane ${slot.index} did not start`),
      )
    }, wait)
  }

  private async askServing<T>(ask: (slot: Slot) => Promise<T>): Promise<T[]> {
    const answers = await Promise.allSettled(this.slots.filter((slot) => slot.serving).map(ask))
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  }

  private ask(slot: Slot, what: Question, request?: unknown): Promise<unknown> {
    const id = this.nextId++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        slot.asked.delete(id)
        reject(new LaneError('UNAVAILABLE', `lane ${slot.index} did not answer in ${askMsMax} ms`))
      }, askMsMax)
      const settle =
        <T>(how: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer)
          slot.asked.delete(id)
          how(value)
        }
      slot.asked.set(id, { what, resolve: settle(resolve), reject: settle(reject) })
      tell(slot.process, { kind: 'ask', id, what, request })
    })
  }

  private answered(slot: Slot, message: FromLane & { kind: 'answer' | 'no' }): void {
    const asked = slot.asked.get(message.id)
    if (message.kind === 'answer') {
      // At once: whoever waits for it goes on after what the lane says next, or after its end.
      if (asked?.what === 'snapshot' || asked?.what === 'scrape') slot.last = message.value as LaneSnapshot
      // What it leaves out is as old as the last scrape; a lane that is killed is remembered by that.
      if (asked?.what === 'glance' && slot.last !== null) slot.last = { ...slot.last, ...(message.value as LaneGlance) }
      asked?.resolve(message.value)
    } else asked?.reject(new LaneError(message.code, message.message))
  }

  private async end(slot: Slot): Promise<void> {
    const child = slot.process
    slot.leaving = true
    if (child === null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    tell(child, { kind: 'drain' })
    // A front thread that hangs does not drain.
    const kill = setTimeout(() => child.kill('SIGKILL'), this.config.drainMs + 5_000)
    await gone
    clearTimeout(kill)
  }
}

function tell(child: ChildProcess | null, message: ToLane): void {
  // A channel that is closed belongs to a lane whose end is on its way.
  if (child?.connected === true) child.send(message, () => undefined)
}

/** Without SO_REUSEPORT one process has the port. */
function oneLaneWithoutUws(config: Config, log: Log): Config {
  if (config.lanes === 1 || sharesPort(config)) return config
  log.warn(`MILLRACE_LANES=${config.lanes}: several lanes need uWebSockets.js; one serves`)
  return { ...config, lanes: 1, seating: { ...config.seating, lanes: config.seating.lanes.slice(0, 1) } }
}

/** Whether processes can open the same port. */
function sharesPort(config: Config): boolean {
  return config.transport === 'uws' || (config.transport === 'auto' && uwsProblem(config) === null)
}
