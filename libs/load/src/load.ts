import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { Pace } from '@millrace/base'
import { LaneSpread } from '@millrace/client'
import { decodeRecording } from '@millrace/wire'
import { ClosedLoop } from './closed-loop'
import { Connection, type Listener } from './connection'
import { Frames, postFrames, scorePost, webSocketFrames, type PostTarget, type Transport } from './frames'
import { OpenLoop } from './open-loop'
import { readEchoedFrame, readFrame, readResponse } from './replies'
import { scheduleOf, type Arrivals } from './schedule'
import { Tally, type Counted } from './tally'

/** What is sent, how hard. Plain data: each process of a load is told it. */
export interface Load {
  readonly transport: Transport
  readonly sockets: number
  /** Requests in flight on each socket: always so many, or of an open loop at most. Over HTTP it is 1. */
  readonly inFlight: number
  /** A recording (`@millrace/wire`) of what is sent, over and over. */
  readonly traffic: string
  /** Undefined: a closed loop. */
  readonly arrivals?: Arrivals | undefined
  /** Where POSTs go, Millrace's own door unless said. */
  readonly post?: PostTarget | undefined
  /** WebSockets are where the kernel puts them, not over all lanes alike as those of our client. */
  readonly anyLane?: boolean | undefined
  /** The server sends back what it gets. */
  readonly echo?: boolean | undefined
  readonly seed?: number | undefined
  /** Keys of tenants: WebSockets show them in turns. */
  readonly keys?: readonly string[] | undefined
}

/** The part of a load that one process has. */
export interface LoadPart {
  /** Connections are spread over them evenly; with one it is up to the kernel where they end. */
  readonly ports: readonly number[]
  readonly part: number
  readonly parts: number
  /** Longest sleep between two looks at the clock, milliseconds (`pace`). */
  readonly napMs: number
}

/** What a process measured between its begin and its end. */
export interface Loaded {
  readonly counted: Counted
  readonly seconds: number
  /** CPUs that it used. */
  readonly cpus: number
  /** Part of the time in which it had something to do. */
  readonly busy: number
  /** How late it noticed arrivals, 99th percentile, microseconds; 0 in a closed loop. */
  readonly lateUs: number
  /** Arrivals that were not sent at the end because no place was free. */
  readonly unsent: number
}

/** Frames of a closed loop, at most: what is beyond them is not sent. */
const framesMax = 65_536
const openingAtOnce = 100

/** A load that runs, until it is closed. */
export class RunningLoad {
  private begunMs = 0
  private cpu = process.cpuUsage()
  private utilisation = performance.eventLoopUtilization()

  private constructor(
    private readonly connections: readonly Connection[],
    private readonly tally: Tally,
    private readonly open: { readonly loop: OpenLoop; readonly pace: Pace } | null,
  ) {}

  /** Resolves when all connections are there and the first requests are sent. */
  static async start(load: Load, part: LoadPart, failed: (error: Error) => void): Promise<RunningLoad> {
    const byId = load.transport === 'websocket'
    const inFlight = byId ? load.inFlight : 1
    const { requests } = decodeRecording(readFileSync(load.traffic))
    const frames = framesOf(
      load,
      requests.map(({ message }) => message),
      inFlight,
      part.ports[0]!,
    )
    const read = !byId ? readResponse : load.echo === true ? readEchoedFrame : readFrame
    const tally = new Tally()
    const connections: Connection[] = []
    // Connections listen to what is made of them when they are all there.
    const relay: Listener = { replied: (...all) => loop.replied(...all), read: (...all) => loop.read(...all) }
    const spread = new LaneSpread()
    const open = async (socket: number): Promise<Connection> => {
      for (let tries = 1; ; tries++) {
        const port = part.ports[socket % part.ports.length]!
        const connection = await Connection.open(port, load.transport, read, relay, failed, keyOf(load, socket))
        if (load.anyLane === true || spread.take(String(port), connection.lane, tries) !== null) return connection
        connection.close()
      }
    }
    for (let s = part.part; s < load.sockets; ) {
      const opening: Promise<Connection>[] = []
      for (; s < load.sockets && opening.length < openingAtOnce; s += part.parts) opening.push(open(s))
      connections.push(...(await Promise.all(opening)))
    }
    connections.forEach((connection, i) => (connection.index = i))
    let loop: ClosedLoop | OpenLoop
    if (load.arrivals === undefined) {
      const closed = (loop = new ClosedLoop(frames, inFlight, byId, tally))
      for (const connection of connections) closed.begin(connection, performance.now())
      return new RunningLoad(connections, tally, null)
    }
    const turns = { first: part.part, step: part.parts }
    const opened = (loop = new OpenLoop(frames, connections, inFlight, byId, tally, turns, failed))
    const times = requests.map(({ arrivalUs }) => arrivalUs)
    const schedule = scheduleOf(load.arrivals, times, { ...part, seed: load.seed ?? 1 })
    return new RunningLoad(connections, tally, { loop: opened, pace: opened.begin(schedule, part.napMs) })
  }

  /** Replies since the begin. */
  get replies(): number {
    return this.tally.replies
  }

  /** What came until now was to warm up. */
  begin(): void {
    this.tally.reset()
    this.open?.loop.late.reset()
    this.begunMs = performance.now()
    this.cpu = process.cpuUsage()
    this.utilisation = performance.eventLoopUtilization()
  }

  end(): Loaded {
    const seconds = (performance.now() - this.begunMs) / 1000
    const { user, system } = process.cpuUsage(this.cpu)
    const { open } = this
    return {
      counted: this.tally.counted(),
      seconds,
      cpus: (user + system) / 1e6 / seconds,
      busy: performance.eventLoopUtilization(this.utilisation).utilization,
      lateUs: open === null ? 0 : open.loop.late.getValueAtPercentile(99),
      unsent: open?.loop.unsent ?? 0,
    }
  }

  /** Nothing more arrives; connections stay open. Of an open loop. */
  pause(): void {
    this.open?.pace.stop()
  }

  close(): void {
    this.open?.pace.stop()
    for (const connection of this.connections) connection.close()
  }
}

function keyOf({ keys = [] }: Load, socket: number): string | undefined {
  return keys[socket % keys.length]
}

/** In a closed loop their number is a multiple of those in flight: see there. */
function framesOf(load: Load, messages: readonly Uint8Array[], inFlight: number, port: number): Frames {
  const closed = load.arrivals === undefined
  const rounds = Math.max(1, Math.floor(Math.min(Math.max(messages.length, inFlight), framesMax) / inFlight))
  const count = closed ? rounds * inFlight : messages.length
  const all = Array.from({ length: count }, (_, i) => messages[i % messages.length]!)
  if (load.transport === 'websocket') return webSocketFrames(all)
  return postFrames(all, `127.0.0.1:${port}`, load.post ?? scorePost)
}
