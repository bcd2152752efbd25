import type { BatchQueue } from '@millrace/batch'
import { encodeRequestList, type ReplyMessage } from '@millrace/wire'
import { Violation, type Story, type Tally } from '../story'
import { faultOf, heapOf } from './checks'
import { SimulatedPost, SimulatedSocket, type Connection } from './connection'
import { Holdings } from './holdings'
import { lateUsMax, SimulatedLane } from './lane'
import { nameOf, randomRequest, type Answer, type Habits, type Request } from './request'
import { World } from './world'

/** Requests of one seed. */
const requestsMax = 120
/** Microseconds that rows may wait while a thread that would take them has nothing to do. */
const idleUsMax = 10_000
/** Microseconds that copies may wait. */
const copiesUsMax = 5_000_000
/** Microseconds after the last request in which everything must be answered and given back. */
const endUsMax = 60_000_000

/** A lane under load, whose every event follows from the seed. Throws a Violation when something does not hold that must. */
export function simulateRoad(seed: number, tally: Tally, story: Story | null): void {
  new RoadSimulation(new World(seed, tally, story)).run()
}

class RoadSimulation {
  private readonly lane: SimulatedLane
  private readonly holdings: Holdings
  private sockets: SimulatedSocket[] = []
  private posts: SimulatedPost[] = []
  /** Sent over connections that are open, not answered. */
  private readonly waiting = new Set<Request>()
  private readonly habits: Habits
  /** Microseconds between messages, in the mean; messages that come together, at most. */
  private readonly gapUs: number
  private readonly burst: number
  private connections = 0
  /** Requests of the message that the door is given, those left that the road was not. */
  private delivered: Request[] = []
  /** The request that the road is given just now: what is answered meanwhile is it. */
  private served: Request | null = null
  /** Of the last request. */
  private endedUs = Infinity
  /** Since when rows wait that a thread would take. */
  private idle = new Map<BatchQueue, number>()

  constructor(private readonly world: World) {
    const { chance, clock } = world
    const lane = (this.lane = new SimulatedLane(world))
    this.habits = { hasty: chance.holds(0.4), long: chance.pick([0.02, 0.02, 0.5]) }
    this.gapUs = chance.spread(50, 20_000)
    this.burst = chance.whole(1, 12)
    this.holdings = new Holdings(lane.road, () => this.delivered[0]!)
    this.watchServe()
    world.tell(() => `a lane: ${JSON.stringify(lane.config)}`)
    clock.after(0, () => this.arrive())
    this.often(() => lane.publish())
    this.often(() => lane.found())
    this.often(() => lane.letGo())
    this.often(() => lane.tenants.change())
    this.often(() => this.settle())
    this.often(() => this.closeOne())
    this.often(() => chance.pick(lane.pools).setAside(chance.spread(1, 100)))
    this.often(() => chance.pick(lane.pools).lose(chance.spread(1, 300)))
  }

  run(): void {
    const { clock } = this.world
    while (!this.isOver()) {
      clock.turn()
      this.checkTurn()
    }
    this.checkEnd()
  }

  /** Has something happen now and then, in some of the seeds. */
  private often(work: () => void): void {
    const { chance, clock } = this.world
    if (chance.holds(0.4)) return
    const meanMs = chance.spread(2, 200)
    const next = (): void => {
      clock.after(meanMs * -Math.log(1 - chance.next()), () => {
        if (this.endedUs !== Infinity) return
        work()
        next()
      })
    }
    next()
  }

  private settle(): void {
    this.lane.settle((version) => {
      for (const request of this.world.requests)
        if (request.version === version && request.answer === null) request.fates.add('abandoned')
    })
  }

  /** Messages come, and after a while more of them. */
  private arrive(): void {
    const { chance, clock, requests } = this.world
    for (let n = chance.whole(1, this.burst); n > 0 && requests.length < requestsMax; n--) this.receive()
    if (requests.length > 0.9 * requestsMax && chance.holds(0.1)) this.lane.road.draining = true
    if (requests.length < requestsMax)
      clock.after((this.gapUs / 1000) * -Math.log(1 - chance.next()), () => this.arrive())
    else this.endedUs = clock.nowUs()
  }

  /** One message: over a WebSocket or as a POST, a request or a list of them. */
  private receive(): void {
    const { chance } = this.world
    const isList = chance.holds(0.2)
    const count = isList ? chance.whole(0, 6) : 1
    if (chance.holds(0.3)) {
      const post = new SimulatedPost(`post ${this.connections++}`, this.lane.tenants.randomGuest(), this.answered)
      this.posts.push(post)
      post.isList = isList
      post.requests = this.randomRequests(post, count)
      this.deliver(post.requests, isList, (body, base, length) => this.lane.door.post(post, body, base, length))
      return
    }
    const socket = this.randomSocket()
    const requests = this.randomRequests(socket, count)
    this.deliver(requests, isList, (body, base, length) => this.lane.door.message(socket, body, base, length))
  }

  private randomSocket(): SimulatedSocket {
    const { chance } = this.world
    this.sockets = this.sockets.filter(({ closed }) => !closed)
    if (this.sockets.length === 0 || (this.sockets.length < 8 && chance.holds(0.1)))
      this.sockets.push(
        new SimulatedSocket(`socket ${this.connections++}`, this.lane.tenants.randomGuest(), this.answered),
      )
    return chance.pick(this.sockets)
  }

  private randomRequests(connection: Connection, count: number): Request[] {
    const { chance, requests } = this.world
    return Array.from({ length: count }, () => {
      const serial = requests.length
      // Nobody forbids a client to use an id again.
      const id = BigInt(chance.holds(0.1) ? chance.whole(0, 3) : 1000 + serial)
      const request = randomRequest(chance, this.lane.randomAsked(), serial, id, connection, this.habits)
      requests.push(request)
      return request
    })
  }

  /** Hands a message to the door, in a buffer that is another's afterwards. */
  private deliver(
    requests: readonly Request[],
    isList: boolean,
    door: (body: ArrayBuffer, base: number, length: number) => void,
  ): void {
    const { world, lane } = this
    for (const request of requests) {
      const decided = lane.decide(request)
      request.receivedUs = world.clock.nowUs()
      request.dueUs = request.receivedUs + (request.budgetUs || lane.config.deadlineMsDefault * 1000)
      request.route = decided?.route ?? null
      request.version = decided?.version ?? null
      request.kind = decided === null ? -1 : lane.kindOf(decided.version)
      request.wasReady = decided?.version.ready ?? false
      request.wasDraining = lane.road.draining
      request.stranger = lane.tenants.refusalOf(request.connection.guest, request.said)
      request.mayResolve = lane.tenants.mayResolve(request.connection.guest)
      request.connection.open.add(request)
      this.waiting.add(request)
      world.tell(() => `${nameOf(request)}, ${request.priority}, due in ${request.dueUs - request.receivedUs} us`)
    }
    const lastUs = Math.max(...requests.map(({ dueUs }) => dueUs)) + lateUsMax
    const gathered = isList && requests[0]?.connection instanceof SimulatedPost
    for (const request of requests) request.lastUs = gathered ? lastUs : request.dueUs
    this.delivered = [...requests]
    const encoded = requests.map((request) => request.encoded)
    const message = isList ? encodeRequestList(encoded) : encoded[0]!
    const base = 8 * world.chance.whole(0, 2)
    const body = new Uint8Array(base + message.length + 16).fill(0xee)
    body.set(message, base)
    door(body.buffer, base, message.length)
    body.fill(0xee)
  }

  /** Notes what is held when the road is given a request: its refusal may be sent later, with others of a list. */
  private watchServe(): void {
    const { road, arena } = this.lane
    const serve = road.serve.bind(road)
    road.serve = (...message) => {
      const [request] = this.delivered
      // An empty list.
      if (request === undefined) return serve(...message)
      this.note(request)
      this.served = request
      arena.onRefusal = () => (request.arenaFull = true)
      const isOne = serve(...message)
      this.served = null
      if (!isOne) return false
      request.copiesWaiting = road.shadows.runner.rowsWaiting
      this.delivered.shift()
      return true
    }
  }

  /** What is held when a request comes. */
  private note(request: Request): void {
    const { world, lane, holdings } = this
    const { road, rules } = lane
    const nowUs = world.clock.nowUs()
    const { served } = request.version ?? { served: null }
    const isBulk = request.priority === 'bulk'
    request.callsUsed = road.calls.used
    request.inFlight = holdings.waiting(({ connection }) => connection === request.connection)
    const before = world.requests.slice(0, request.serial).filter(({ stranger }) => stranger === null)
    request.limited = holdings.limitsTaken(rules.limits ?? [], request, before, nowUs)
    if (served === null) return
    const queue = isBulk ? served.bulk : served.interactive
    request.rowsWaiting = queue.rowsWaiting
    const asked = queue.bytesOf(request.rows, heapOf(request, 0, request.rows))
    request.arena = { ...holdings.arenaHeld(request, lane.arena), asked }
    request.share = holdings.ask(isBulk ? served.bulkShares : served.interactiveShares, request, nowUs)
  }

  private readonly answered = (connection: Connection, reply: ReplyMessage, asked: Request | null): void => {
    const { world } = this
    const { open } = connection
    const { served } = this
    const one = asked ?? (served?.connection === connection ? served : null)
    const candidates = one === null ? [...open].filter(({ id }) => id === reply.id) : [one]
    if (!candidates.some((one) => open.has(one)))
      throw new Violation(
        `${connection.name} is answered with ${reply.code} to id ${reply.id}, and does not wait for it`,
      )
    const answer = { reply, atUs: world.clock.nowUs() }
    const request = this.match(candidates, answer)
    if (request === null) {
      const fault = faultOf(this.lane.config, candidates[0]!, answer)
      throw new Violation(`the answer to ${nameOf(candidates[0]!)} ${fault}`)
    }
    open.delete(request)
    this.waiting.delete(request)
    world.tell(() => `${nameOf(request)} is answered: ${reply.code} ${reply.message}`)
    world.tally.count(kindOf(reply))
    // It left too much unread.
    if (asked === null && world.chance.holds(0.002)) this.close(connection)
  }

  /** Gives an answer to the one of several requests that it may be of: they have one id where a client uses it again. */
  private match(candidates: readonly Request[], answer: Answer): Request | null {
    const { config } = this.lane
    const fits = (request: Request, one: Answer): boolean => faultOf(config, request, one) === null
    const request = candidates.find((one) => fits(one, answer))
    if (request !== undefined) {
      request.answer = answer
      return request
    }
    // It may be of one that was taken for another before.
    const { connection, id } = candidates[0]!
    for (const other of this.world.requests) {
      if (other.connection !== connection || other.id !== id || other.answer === null || !fits(other, answer)) continue
      const mistaken = candidates.find((one) => fits(one, other.answer!))
      if (mistaken === undefined) continue
      mistaken.answer = other.answer
      other.answer = answer
      return mistaken
    }
    return null
  }

  private closeOne(): void {
    const { chance } = this.world
    this.posts = this.posts.filter(({ open, closed }) => open.size > 0 && !closed)
    const all = [...this.sockets, ...this.posts]
    if (all.length > 0) this.close(chance.pick(all))
  }

  private close(connection: Connection): void {
    const { world } = this
    if (connection.closed) return
    connection.closed = true
    connection.closedUs = world.clock.nowUs()
    for (const request of connection.open) this.waiting.delete(request)
    world.tell(() => `${connection.name} closes, ${connection.open.size} requests are not answered`)
    world.tally.count('connections closed while they wait', Number(connection.open.size > 0))
    connection.open.clear()
  }

  private isOver(): boolean {
    const { world, lane } = this
    if (world.clock.nowUs() > this.endedUs + endUsMax) return true
    if (this.endedUs === Infinity || this.waiting.size > 0 || !lane.idle || lane.road.calls.used > 0) return false
    return lane.copied.held === 0 && lane.arena.usedBlocks === 0
  }

  /** What holds between any two turns of the event loop. */
  private checkTurn(): void {
    const { world, lane } = this
    const nowUs = world.clock.nowUs()
    for (const request of this.waiting)
      if (nowUs > request.lastUs + lateUsMax)
        throw new Violation(`${nameOf(request)} is not answered ${nowUs - request.lastUs} us after its deadline`)
    const idle = new Map<BatchQueue, number>()
    for (const queue of lane.ready()) {
      const since = this.idle.get(queue) ?? nowUs
      idle.set(queue, since)
      if (nowUs - since > idleUsMax)
        throw new Violation(`rows wait for ${nowUs - since} us, and a thread that would take them has nothing to do`)
    }
    this.idle = idle
    this.holdings.check()
    for (const { served, label } of lane.versions.all)
      if (served !== null && nowUs - served.shadow.oldestUs(Infinity) > copiesUsMax + lateUsMax)
        throw new Violation(`copies for ${label} wait longer than they may`)
  }

  /** What holds when everything was answered. */
  private checkEnd(): void {
    const { world, lane } = this
    const { road, arena, versions } = lane
    const none = (count: number, what: string): void => {
      if (count !== 0) throw new Violation(`${count} ${what} when everything is over`)
    }
    none(this.waiting.size, 'requests are not answered')
    none(road.calls.waiting, 'calls wait')
    none(road.calls.used, 'calls are held')
    none(lane.copied.held, 'copies are neither compared nor dropped')
    none(arena.usedBlocks, 'slabs are not given back')
    for (const { served } of versions.all)
      for (const queue of served === null ? [] : [served.interactive, served.bulk, served.shadow]) {
        none(queue.rowsWaiting, 'rows wait')
        none(queue.batches, 'batches are held')
      }
    this.holdings.checkEnd(world.clock.nowUs())
    lane.copied.checkEnd(world.tally)
    this.checkCounts()
    road.close()
  }

  /** Each answer is counted to whoever asked. */
  private checkCounts(): void {
    const { world, lane } = this
    const { names, counts } = lane.road.tenants
    const codes = counts.length / lane.road.tenants.size
    names.forEach((name, place) => {
      const counted = counts.subarray(place * codes, (place + 1) * codes).reduce((sum, count) => sum + count, 0)
      const asked = world.requests.filter((request) => askedBy(request) === name).length
      if (counted !== asked)
        throw new Violation(`${counted} answers are counted to '${name}', who asked ${asked} times`)
    })
  }
}

/** Who a request is counted to: who its caller proved to be, and where he may not ask, who he says he is. */
function askedBy({ stranger, said, context }: Request): string {
  return stranger === null ? ((context['tenant'] as string | undefined) ?? '') : said
}

function kindOf({ code, message }: ReplyMessage): string {
  const limit = /MILLRACE_\w+/.exec(message)?.[0]
  if (/may take \S+ ms/.test(message)) return `${code} (predicted)`
  if (message.includes('part of the arena')) return `${code} (a part of the arena)`
  if (message.includes('other tenants ask')) return `${code} (a tenant's part)`
  if (message.startsWith('limit ')) return `${code} (a limit of the rules)`
  return limit === undefined ? code : `${code} (${limit})`
}
