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
  const latencies = build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 })
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
  /** One whole frame for each request in flight; its id is its index. */
  private readonly frames: Buffer[]
  private readonly sentMs: Float64Array
  private rest: Buffer = Buffer.alloc(0)
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
    this.frames = Array.from({ length: inFlight }, (_, i) => {
      const features = Float32Array.from({ length: 64 }, (__, f) => Math.sin(s * 31 + i * 7 + f))
      const request = requestOf(BigInt(options.objectiveHash), BigInt(i + 1), features, `account-${s}-${i}`)
      return transport === 'websocket' ? maskedFrame(request) : post(request, `127.0.0.1:${port}`)
    })
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
    this.socket.write(Buffer.concat(this.frames))
  }

  close(): void {
    this.socket.destroy()
  }

  private received(bytes: Buffer): void {
    const { shared } = this
    if (shared.stopped) return
    const all = this.rest.length > 0 ? Buffer.concat([this.rest, bytes]) : bytes
    const now = performance.now()
    const again: Buffer[] = []
    let at = 0
    for (;;) {
      const payload = this.options.transport === 'websocket' ? framePayload(all, at) : responsePayload(all, at)
      if (payload === null) break
      const i = this.idOf(all, payload.begin, payload.end) - 1
      if (shared.measuring) {
        shared.replies++
        shared.latencies.recordValue(Math.max(1, Math.round((now - this.sentMs[i]!) * 1000)))
      }
      this.sentMs[i] = now
      again.push(this.frames[i]!)
      at = payload.end
    }
    this.rest = at < all.length ? Buffer.from(all.subarray(at)) : Buffer.alloc(0)
    if (again.length === 1) this.socket.write(again[0]!)
    else if (again.length > 1) this.socket.write(Buffer.concat(again))
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

interface Payload {
  readonly begin: number
  readonly end: number
}

/** A server's frame is not masked. */
function framePayload(bytes: Buffer, at: number): Payload | null {
  if (bytes.length < at + 2) return null
  const short = bytes[at + 1]! & 0x7f
  if (short < 126) return bytes.length < at + 2 + short ? null : { begin: at + 2, end: at + 2 + short }
  if (bytes.length < at + 4) return null
  const length = bytes.readUInt16BE(at + 2)
  return bytes.length < at + 4 + length ? null : { begin: at + 4, end: at + 4 + length }
}

const lengthHeader = Buffer.from('ontent-')
function responsePayload(bytes: Buffer, at: number): Payload | null {
  const head = bytes.indexOf('\r\n\r\n', at, 'latin1')
  if (head < 0) return null
  let name = bytes.indexOf(lengthHeader, at)
  // Content-Length, however it is capitalised; content-type begins alike.
  while (name >= 0 && name < head && (bytes[name + 7]! | 32) !== 0x6c) name = bytes.indexOf(lengthHeader, name + 7)
  const length = Number.parseInt(bytes.toString('latin1', name + 14, head), 10)
  const begin = head + 4
  return bytes.length < begin + length ? null : { begin, end: begin + length }
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
