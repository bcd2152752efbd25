import { seededRandom } from '@millrace/base'
import { Cpus } from './cpus'
import { Histogram } from './histogram'
import { connectionsOf, turnsMax, type LaneModel, type Neighbours, type RequestClass } from './lane-model'
import { Router, type Routing } from './router'
import { SimBatch, SimLane, SimThread, type SimQueue } from './sim-lane'

// Looked up once: under a test runner each look at a global is slow.
const { log, min } = Math
const never = Infinity

/** A lane stops, or comes back. */
export interface Incident {
  readonly atUs: number
  readonly lane: number
  /**
   * `drain` it is sent nothing more and answers what it has; `crash` what it has is lost, and requests go on being sent to
   * it until `unroute`; `return` it is there again.
   */
  readonly what: 'drain' | 'crash' | 'unroute' | 'return'
}

export interface SimulationOptions {
  /** Every lane is alike. */
  readonly model: LaneModel
  readonly lanes?: number
  /** Open loop: requests a microsecond over all lanes, a Poisson process; or closed: so many at once, always. */
  readonly load: { readonly rate: number } | { readonly inFlight: number }
  readonly seed: number
  /** What is not measured, at the begin. */
  readonly warmUs: number
  readonly measureUs: number
  readonly routing?: Routing
  readonly incidents?: readonly Incident[]
  /** Until a client that got no answer from a lane that is gone sends its request to another. */
  readonly retryUs?: number
  readonly neighbours?: Neighbours
}

export interface SimulationResult {
  /** Microseconds from when a request was due to its answer; of requests that were due while it measured. */
  readonly latency: Histogram
  /** Requests answered a microsecond, while it measured. */
  readonly throughput: number
  readonly answered: number
  readonly refused: number
  readonly retried: number
  /** Due while it measured and never answered: the simulation ended first. */
  readonly unanswered: number
  /** Shares of the time that they work. */
  readonly utilisation: { readonly front: number; readonly pool: number }
  readonly batchRows: number
  readonly events: number
  /** Requests answered by each lane. */
  readonly perLane: Float64Array
}

/** Follows each request of a few seconds through lanes; the same seed gives the same result. */
export function simulate(options: SimulationOptions): SimulationResult {
  return new Simulation(options).run()
}

class Simulation {
  private readonly cpus = new Cpus()
  private readonly lanes: SimLane[] = []
  private readonly threads: SimThread[] = []
  private readonly router: Router
  private readonly uniform: () => number
  private readonly arrivalsRandom: () => number
  private readonly classes: readonly RequestClass[]
  private readonly endUs: number
  private readonly retryUs: number
  /** By request, used again when it is answered. */
  private readonly dueUs: number[] = []
  private readonly classOf: number[] = []
  private readonly partsLeft: number[] = []
  private readonly laneOf: number[] = []
  private readonly freeRequests: number[] = []
  private readonly spareBatches: SimBatch[] = []
  /** Requests that were due while it measured and wait for their answer. */
  private awaited = 0

  private readonly latency = new Histogram()
  private answered = 0
  private refused = 0
  private retried = 0
  private frontUs = 0
  private poolUs = 0
  private batches = 0
  private rows = 0
  private eventCount = 0
  private readonly perLane: Float64Array

  constructor(private readonly options: SimulationOptions) {
    const { model, lanes = 1, seed, neighbours, warmUs, measureUs } = options
    this.uniform = seededRandom(seed)
    this.arrivalsRandom = seededRandom(seed ^ 0x5bd1e995)
    this.classes = model.classes
    this.endUs = warmUs + measureUs
    this.retryUs = options.retryUs ?? 1000
    this.perLane = new Float64Array(lanes)
    for (let l = 0; l < lanes; l++) {
      const lane = new SimLane(l, model)
      this.lanes.push(lane)
      lane.front = this.thread(lane, 'front')
      for (let t = 0; t < model.threads; t++) lane.pool.push(this.thread(lane, 'pool'))
      if (neighbours === undefined) continue
      lane.load = this.thread(lane, 'load')
      lane.load.spins = neighbours.load.spins
      if (lane.load.spins) lane.running++
    }
    this.router = new Router(this.lanes, options.routing ?? { kind: 'even' }, seededRandom(seed ^ 0x2545f491))
  }

  run(): SimulationResult {
    const { load, incidents = [], measureUs, warmUs, model, neighbours } = this.options
    const rate = 'rate' in load ? load.rate : 0
    let nextArrival = rate > 0 ? this.gap(rate) : never
    let nextIncident = 0
    let nextOthers = neighbours === undefined || neighbours.others.length === 0 ? never : 0
    if ('inFlight' in load) for (let i = 0; i < load.inFlight; i++) this.arrive()
    const last = this.endUs + 10 * measureUs
    for (;;) {
      const { time } = this.cpus.events
      const incidentUs = nextIncident < incidents.length ? incidents[nextIncident]!.atUs : never
      const now = min(time, nextArrival, incidentUs, nextOthers)
      if (now > last || now === never || (now > this.endUs && this.awaited === 0)) break
      this.cpus.now = now
      if (incidentUs <= now) this.happen(incidents[nextIncident++]!)
      else if (nextOthers <= now) {
        const { others, othersEveryUs } = neighbours!
        const count = others[Math.round(now / othersEveryUs) % others.length]!
        for (const lane of this.lanes) this.cpus.others(lane, count)
        nextOthers = now + othersEveryUs
      } else if (nextArrival <= now) {
        this.arrive()
        nextArrival = now + this.gap(rate)
      } else {
        const { target, stamp } = this.cpus.events
        this.cpus.events.pop()
        if (target < 0) this.send(-1 - target)
        else if (this.threads[target]!.stamp === stamp) this.wakeOrFinish(this.threads[target]!)
        else continue
      }
      this.eventCount++
    }
    const lanes = this.lanes.length
    return {
      latency: this.latency,
      throughput: this.answered / measureUs,
      answered: this.answered,
      refused: this.refused,
      retried: this.retried,
      unanswered: this.awaited,
      utilisation: {
        front: this.frontUs / (lanes * (this.endUs - warmUs)),
        pool: this.poolUs / (lanes * model.threads * (this.endUs - warmUs)),
      },
      batchRows: this.rows / this.batches,
      events: this.eventCount,
      perLane: this.perLane,
    }
  }

  private thread(lane: SimLane, role: SimThread['role']): SimThread {
    const thread = new SimThread(this.threads.length, lane, role)
    this.threads.push(thread)
    lane.threads.push(thread)
    return thread
  }

  private gap(rate: number): number {
    return -log(1 - this.arrivalsRandom()) / rate
  }

  private get measuring(): boolean {
    return this.cpus.now >= this.options.warmUs && this.cpus.now < this.endUs
  }

  // Requests.

  private arrive(): void {
    const request = this.freeRequests.pop() ?? this.dueUs.length
    this.dueUs[request] = this.cpus.now
    this.classOf[request] = this.drawClass()
    if (this.measuring) this.awaited++
    this.send(request)
  }

  private drawClass(): number {
    if (this.classes.length === 1) return 0
    let u = this.arrivalsRandom()
    let c = 0
    while (c < this.classes.length - 1 && (u -= this.classes[c]!.share) >= 0) c++
    return c
  }

  /** To a lane, by its load where there is one. */
  private send(request: number): void {
    const lane = this.router.pick()
    if (lane === null) return this.retry(request)
    this.laneOf[request] = lane.index
    lane.outstanding++
    if (lane.load === null) return this.receive(lane, request)
    lane.due.push(request)
    this.cpus.wake(lane.load, lane.load.spins ? 0 : lane.model.wakeUs)
  }

  private receive(lane: SimLane, request: number): void {
    if (!lane.up) {
      lane.outstanding--
      return this.retry(request)
    }
    lane.arrivals.push(request)
    this.cpus.wake(lane.front, lane.model.wakeUs)
  }

  private retry(request: number): void {
    this.retried++
    this.laneOf[request] = -1
    this.cpus.events.push(this.cpus.now + this.retryUs, -1 - request, 0)
  }

  private reply(lane: SimLane, request: number): void {
    if (lane.load === null) return this.finish(lane, request)
    lane.replies.push(request)
    this.cpus.wake(lane.load, lane.load.spins ? 0 : lane.model.wakeUs)
  }

  /** The request's life ends; in a closed loop another begins. */
  private finish(lane: SimLane, request: number, refused = false): void {
    const dueUs = this.dueUs[request]!
    lane.outstanding--
    if (this.measuring) {
      if (refused) this.refused++
      else {
        this.answered++
        this.perLane[lane.index]!++
      }
    }
    if (dueUs >= this.options.warmUs && dueUs < this.endUs) {
      this.awaited--
      if (!refused) this.latency.record(this.cpus.now - dueUs)
    }
    this.laneOf[request] = -1
    this.freeRequests.push(request)
    if ('inFlight' in this.options.load) this.arrive()
  }

  private wakeOrFinish(thread: SimThread): void {
    const { lane, role } = thread
    if (thread.waking) {
      thread.waking = false
      if (role === 'pool') this.runBatch(thread)
      else if (role === 'front') this.beginTurn(lane)
      else this.beginLoadTurn(lane)
      return
    }
    this.cpus.stop(thread)
    if (role === 'pool') this.batchRan(thread)
    else if (role === 'front') this.turnDone(lane)
    else this.loadTurnDone(lane)
  }

  // The front thread: a turn reads what came and answers what ran; then batches are handed over.

  private beginTurn(lane: SimLane): void {
    ;[lane.turn, lane.arrivals] = [lane.arrivals, lane.turn]
    ;[lane.turnDone, lane.done] = [lane.done, lane.turnDone]
    const { connections, batchUs } = lane.model
    let us = 0
    let readUs = 0
    for (const request of lane.turn) {
      const one = this.classes[this.classOf[request]!]!
      us += one.requestUs / 2
      readUs += one.readUs
    }
    if (lane.turn.length > 0) us += (readUs / lane.turn.length / 2) * connectionsOf(lane.turn.length, connections)
    for (const { requests } of lane.turnDone) {
      readUs = 0
      for (const request of requests) {
        const one = this.classes[this.classOf[request]!]!
        us += one.requestUs / 2
        readUs += one.readUs
      }
      us += batchUs / 2 + (readUs / requests.length / 2) * connectionsOf(requests.length, connections)
    }
    this.workFront(lane, us)
  }

  private workFront(lane: SimLane, us: number): void {
    if (this.measuring) this.frontUs += us
    this.cpus.work(lane.front, us)
  }

  private turnDone(lane: SimLane): void {
    const ran = lane.turnDone.length > 0
    for (const batch of lane.sending) this.give(lane, batch)
    lane.sending.length = 0
    for (const request of lane.turn) this.admit(lane, request)
    const arrived = lane.turn.length > 0
    lane.turn.length = 0
    for (const batch of lane.turnDone) this.answer(lane, batch)
    lane.turnDone.length = 0
    if (arrived && !ran && lane.arrivals.length > 0 && ++lane.turns < turnsMax) return this.beginTurn(lane)
    lane.turns = 0
    while (lane.free > 0) {
      const queue = longestWaiting(lane)
      if (queue === null) break
      lane.free--
      lane.sending.push(queue.take())
    }
    if (lane.sending.length > 0) this.workFront(lane, (lane.sending.length * lane.model.batchUs) / 2)
    else if (lane.arrivals.length > 0 || lane.done.length > 0) this.beginTurn(lane)
  }

  private admit(lane: SimLane, request: number): void {
    const { queue: q, rows } = this.classes[this.classOf[request]!]!
    const queue = lane.queues[q]!
    if (queue.rowsWaiting + rows > lane.model.queueRowsMax) return this.finish(lane, request, true)
    const { rowsMax } = queue.model
    this.partsLeft[request] = 0
    for (let left = rows; left > 0; left -= rowsMax) {
      const part = min(left, rowsMax)
      let batch = queue.open
      if (batch !== null && batch.rows + part > rowsMax) {
        queue.closed.push(batch)
        batch = null
      }
      if (batch === null) {
        batch = this.spareBatches.pop() ?? new SimBatch(queue)
        batch.queue = queue
        batch.rows = 0
        batch.openedUs = this.cpus.now
        queue.open = batch
      }
      batch.rows += part
      batch.requests.push(request)
      this.partsLeft[request]!++
      queue.rowsWaiting += part
    }
  }

  /** To the pool thread that holds the fewest. */
  private give(lane: SimLane, batch: SimBatch): void {
    let thread = lane.pool[0]!
    for (const one of lane.pool) if (one.held.length < thread.held.length) thread = one
    thread.held.push(batch)
    if (thread.held.length === 1) this.cpus.wake(thread, lane.model.wakeUs)
  }

  private answer(lane: SimLane, batch: SimBatch): void {
    lane.free++
    for (const request of batch.requests) if (--this.partsLeft[request]! === 0) this.reply(lane, request)
    batch.requests.length = 0
    this.spareBatches.push(batch)
  }

  // Pool threads.

  private runBatch(thread: SimThread): void {
    const batch = thread.held[0]!
    const us = thread.lane.model.workerBatchUs + batch.queue.model.service.sample(batch.rows, this.uniform())
    if (this.measuring) {
      this.batches++
      this.rows += batch.rows
      this.poolUs += us
    }
    this.cpus.work(thread, us)
  }

  private batchRan(thread: SimThread): void {
    const { lane } = thread
    lane.done.push(thread.held.shift()!)
    this.cpus.wake(lane.front, lane.model.wakeUs)
    if (thread.held.length > 0) this.runBatch(thread)
  }

  // A load on the same machine: a turn sends what is due and reads what came.

  private beginLoadTurn(lane: SimLane): void {
    ;[lane.loadDue, lane.due] = [lane.due, lane.loadDue]
    ;[lane.loadReplies, lane.replies] = [lane.replies, lane.loadReplies]
    const { requestUs } = this.options.neighbours!.load
    this.cpus.work(lane.load!, ((lane.loadDue.length + lane.loadReplies.length) * requestUs) / 2)
  }

  private loadTurnDone(lane: SimLane): void {
    for (const request of lane.loadDue) this.receive(lane, request)
    lane.loadDue.length = 0
    for (const request of lane.loadReplies) this.finish(lane, request)
    lane.loadReplies.length = 0
    if (lane.due.length > 0 || lane.replies.length > 0) this.beginLoadTurn(lane)
  }

  // What befalls lanes.

  private happen({ lane: l, what }: Incident): void {
    const lane = this.lanes[l]!
    if (what === 'drain' || what === 'unroute') this.router.remove(lane)
    else if (what === 'return') {
      lane.up = true
      this.router.add(lane)
    } else {
      lane.up = false
      lane.clear()
      for (let request = 0; request < this.laneOf.length; request++) if (this.laneOf[request] === l) this.retry(request)
    }
  }
}

/** The queue whose oldest batch has waited longest, as the server's dispatcher chooses. */
function longestWaiting(lane: SimLane): SimQueue | null {
  let best: SimQueue | null = null
  let oldest = never
  for (const queue of lane.queues) {
    const { oldestUs } = queue
    if (oldestUs < oldest) {
      oldest = oldestUs
      best = queue
    }
  }
  return best
}
