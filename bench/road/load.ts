import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { decodeReply, replyPlaces } from '@millrace/wire'
import { build, type Histogram } from 'hdr-histogram-js'
import { maskedFrame, post, requestOf } from './frames'

/** What a load process is told. */
export interface LoadOptions {
  readonly port: number
  readonly transport: 'websocket' | 'http'
  readonly sockets: number
  /** Requests in flight on each socket. */
  readonly inFlight: number
  readonly objectiveHash: string
  readonly warmMs: number
  readonly measureMs: number
  /** The server sends back what it gets: replies are not read. */
  readonly echo: boolean
}

export interface LoadResult {
  readonly replies: number
  /** Replies whose code is not OK. */
  readonly errors: number
  readonly seconds: number
  /** Microseconds, from sent to received; closed loop. */
  readonly latencyUs: { readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number }
}

/**
 * Closed-loop load: each socket keeps its requests in flight. Speaks both protocols itself on plain sockets, with
 * frames made beforehand, so that the load costs less than what it measures. Every reply's id is matched with its
 * request; a reply of another size than the first is read and, unless it is OK, counted as an error.
 */
export async function runLoad(options: LoadOptions, begin: () => void, end: () => void): Promise<LoadResult> {
  const latencies = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  })
  const shared: Shared = { replies: 0, errors: 0, measuring: false, stopped: false, latencies }
  const sockets: Loader[] = []
  for (let s = 0; s < options.sockets; s++) sockets.push(await Loader.open(options, s, shared))
  for (const socket of sockets) socket.begin()
  await sleep(options.warmMs)
  const begun = performance.now()
  shared.replies = 0
  shared.errors = 0
  shared.measuring = true
  begin()
  await sleep(options.measureMs)
  end()
  shared.measuring = false
  const seconds = (performance.now() - begun) / 1000
  const { replies, errors } = shared
  shared.stopped = true
  for (const socket of sockets) socket.close()
  return {
    replies,
    errors,
    seconds,
    latencyUs: {
      p50: latencies.getValueAtPercentile(50),
      p90: latencies.getValueAtPercentile(90),
      p99: latencies.getValueAtPercentile(99),
      max: latencies.maxValue,
    },
  }
}

interface Shared {
  replies: number
  errors: number
  measuring: boolean
  stopped: boolean
  readonly latencies: Histogram
}

class Loader {
  /** One frame for each request in flight, end to end: a run of replies is answered by sending a part of it again. */
  private readonly frames: Buffer
  /** Where each frame begins, and the last one ends. */
  private readonly begins: number[] = [0]
  private readonly sentMs: Float64Array
  private rest: Buffer = nothing
  /** Where the id lies in a reply's payload, and how long such a reply is; learnt from the first. */
  private idAt = -1
  private replyBytes = -1

  private constructor(
    private readonly socket: Socket,
    private readonly options: LoadOptions,
    s: number,
    private readonly shared: Shared,
  ) {
    const { inFlight, transport, port } = options
    this.sentMs = new Float64Array(inFlight)
    const frames = Array.from({ length: inFlight }, (_, i) => {
      const features = Float32Array.from({ length: 64 }, (__, f) => Math.sin(s * 31 + i * 7 + f))
      const request = requestOf(BigInt(options.objectiveHash), BigInt(i + 1), features, `account-${s}-${i}`)
      return transport === 'websocket' ? maskedFrame(request) : post(request, `127.0.0.1:${port}`)
    })
    for (const frame of frames) this.begins.push(this.begins.at(-1)! + frame.length)
    this.frames = Buffer.concat(frames)
  }

  static async open(options: LoadOptions, s: number, shared: Shared): Promise<Loader> {
    const socket = connect(options.port, '127.0.0.1')
    socket.setNoDelay(true)
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    if (options.transport === 'websocket') await upgrade(socket, options.port)
    const loader = new Loader(socket, options, s, shared)
    socket.on('data', (bytes) => loader.received(bytes))
    socket.on('error', (error) => {
      if (!shared.stopped) throw error
    })
    socket.on('close', () => {
      if (!shared.stopped) throw new Error('the server closed a connection under load')
    })
    return loader
  }

  begin(): void {
    const now = performance.now()
    this.sentMs.fill(now)
    this.socket.write(this.frames)
  }

  close(): void {
    this.socket.destroy()
  }

  private received(bytes: Buffer): void {
    const { shared } = this
    if (shared.stopped) return
    const all = this.rest.length > 0 ? Buffer.concat([this.rest, bytes]) : bytes
    const now = performance.now()
    let at = 0
    // The run of consecutive requests that is being answered.
    let first = -1
    let last = -1
    this.socket.cork()
    for (;;) {
      const end = this.options.transport === 'websocket' ? frameEnd(all, at) : responseEnd(all, at)
      if (end < 0) break
      const i = this.idOf(all, payloadBegin, end) - 1
      if (i !== last + 1 || first < 0) {
        this.again(first, last, now)
        first = i
      }
      last = i
      at = end
    }
    this.again(first, last, now)
    this.socket.uncork()
    this.rest = at < all.length ? Buffer.from(all.subarray(at)) : nothing
  }

  /** Requests `first .. last` were answered: counts them and sends them again. */
  private again(first: number, last: number, now: number): void {
    if (first < 0) return
    const { shared, sentMs } = this
    if (shared.measuring) {
      shared.replies += last - first + 1
      for (let i = first; i <= last; ) {
        const sent = sentMs[i]!
        const begin = i
        while (i <= last && sentMs[i] === sent) i++
        shared.latencies.recordValueWithCount(Math.max(1, Math.round((now - sent) * 1000)), i - begin)
      }
    }
    sentMs.fill(now, first, last + 1)
    this.socket.write(this.frames.subarray(this.begins[first]!, this.begins[last + 1]!))
  }

  private idOf(all: Buffer, begin: number, end: number): number {
    if (end - begin === this.replyBytes) return all.readUInt32LE(begin + this.idAt)
    const payload = new Uint8Array(all.subarray(begin, end))
    if (this.options.echo) {
      // A request, sent back: its id is where it is in all of them.
      this.idAt = idInRequest(payload)
      this.replyBytes = end - begin
      return all.readUInt32LE(begin + this.idAt)
    }
    const reply = decodeReply(payload)
    if (reply.code === 'OK') {
      this.replyBytes = end - begin
      this.idAt = replyPlaces(payload).id
    } else if (this.shared.measuring) this.shared.errors++
    return Number(reply.id)
  }
}

/** The id is the first field of the root table (schema: request.fbs). */
function idInRequest(message: Uint8Array): number {
  const view = new DataView(message.buffer)
  const root = view.getUint32(0, true)
  const vtable = root - view.getInt32(root, true)
  return root + view.getUint16(vtable + 4, true)
}

const nothing = Buffer.alloc(0)

/** Where the payload begins that `frameEnd` or `responseEnd` found last. */
let payloadBegin = 0

/** The end of the frame at `at`, or -1 when it is not all there. A server's frame is not masked. */
function frameEnd(bytes: Buffer, at: number): number {
  if (bytes.length < at + 4) return -1
  const short = bytes[at + 1]! & 0x7f
  payloadBegin = short < 126 ? at + 2 : at + 4
  const end = payloadBegin + (short < 126 ? short : bytes.readUInt16BE(at + 2))
  return end <= bytes.length ? end : -1
}

const lengthHeader = Buffer.from('ontent-')

/** The end of the response at `at`, or -1 when it is not all there. */
function responseEnd(bytes: Buffer, at: number): number {
  const head = bytes.indexOf('\r\n\r\n', at, 'latin1')
  if (head < 0) return -1
  let name = bytes.indexOf(lengthHeader, at)
  // Content-Length, however it is capitalised; content-type begins alike.
  while (name >= 0 && name < head && (bytes[name + 7]! | 32) !== 0x6c) name = bytes.indexOf(lengthHeader, name + 7)
  payloadBegin = head + 4
  const end = payloadBegin + Number.parseInt(bytes.toString('latin1', name + 14, head), 10)
  return end <= bytes.length ? end : -1
}

async function upgrade(socket: Socket, port: number): Promise<void> {
  socket.write(
    `GET /v1/stream HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
      `sec-websocket-version: 13\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  )
  const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
  if (!answer.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(`no upgrade: ${answer.toString('latin1')}`)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
