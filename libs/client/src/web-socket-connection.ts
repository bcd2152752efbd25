import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { goingAway, laneHeader, replyId } from '@millrace/wire'
import { refusalOf, type ClientTls, type Connection } from './connection'
import { LaneSpread } from './lane-spread'
import { ScoreError } from './score-error'

/** One WebSocket. */
interface Link {
  readonly socket: WebSocket
  readonly url: string
  /** Makes room on its lane. */
  release: () => void
  /** Requests that were sent on it and are not answered. */
  inFlight: number
  /** Its server takes no more; it is closed when it has answered what it has. */
  leaving: boolean
}

interface Pending {
  readonly resolve: (reply: Uint8Array) => void
  readonly reject: (error: ScoreError) => void
  readonly timer: NodeJS.Timeout
  /** What it was sent on; null while that is being opened. */
  link: Link | null
}

const backOffMs = { first: 50, most: 5_000 }
const handshakeMsMax = 10_000
const closeMsMax = 1_000

/**
 * One WebSocket with many requests in flight. When it breaks, what is in flight is rejected and the next request
 * connects again, to the next address where there are several, after a back-off that doubles once all were tried (with
 * jitter, so that a fleet does not come back as one). When its server says that it goes away, what comes next takes
 * another connection at once, and what is in flight is answered on this one.
 */
export class WebSocketConnection implements Connection {
  private readonly pending = new Map<bigint, Pending>()
  private readonly links = new Set<Link>()
  /** What the next request goes on. */
  private link: Promise<Link> | null = null
  /** The one that is being opened. */
  private opening: WebSocket | null = null
  private readonly backingOff = new AbortController()
  private failures = 0
  private closed = false

  /**
   * @param urls `ws://host:port/v1/stream`, or wss
   * @param at which of them is the first
   * @param spread shared by the connections that are to be on different lanes
   */
  constructor(
    private readonly urls: readonly string[],
    private at: number,
    private readonly options: { readonly headers: Readonly<Record<string, string>>; readonly tls?: ClientTls },
    private readonly spread = new LaneSpread(),
  ) {}

  async send(id: bigint, message: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return new Promise<Uint8Array>((resolve, reject) => {
      if (this.closed) return reject(isClosed())
      const timer = setTimeout(
        () => this.settle(id)?.reject(new ScoreError('DEADLINE_EXCEEDED', `no answer within ${timeoutMs} ms`)),
        timeoutMs,
      )
      const pending: Pending = { resolve, reject, timer, link: null }
      this.pending.set(id, pending)
      this.open().then(
        (link) => {
          // It may have been given up while the connection was made.
          if (this.pending.get(id) !== pending) return
          pending.link = link
          link.inFlight++
          link.socket.send(message)
        },
        (error: unknown) => this.settle(id)?.reject(failureOf(error)),
      )
    })
  }

  async close(): Promise<void> {
    this.closed = true
    for (const id of [...this.pending.keys()]) this.settle(id)?.reject(isClosed())
    this.backingOff.abort()
    this.opening?.terminate()
    await this.link?.catch(() => null)
    await Promise.all([...this.links].map(({ socket }) => closed(socket)))
  }

  private open(): Promise<Link> {
    return (this.link ??= this.connect())
  }

  private async connect(): Promise<Link> {
    const rounds = Math.floor(this.failures / this.urls.length)
    if (rounds > 0) {
      const ms = Math.min(backOffMs.most, backOffMs.first * 2 ** (rounds - 1))
      await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal: this.backingOff.signal })
    }
    const url = this.urls[this.at % this.urls.length]!
    let link: Link
    try {
      link = await this.dial(url)
    } catch (error) {
      this.failures++
      this.at++
      this.link = null
      throw error instanceof ScoreError ? error : new Error(`${url}: ${messageOf(error)}`, { cause: error })
    }
    const { socket } = link
    this.failures = 0
    this.links.add(link)
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.received(data)
    })
    // 'close' follows.
    socket.on('error', () => undefined)
    socket.once('close', (code: number) => {
      this.links.delete(link)
      this.moveOn(link)
      this.rejectAll(link, `the connection to ${url} closed (${code})`)
    })
    return link
  }

  /** Connects until it is on a lane that has not more connections than another. */
  private async dial(url: string): Promise<Link> {
    for (let tries = 1; ; tries++) {
      const { link, lane } = await this.dialOnce(url)
      const release = this.spread.take(url, lane, tries)
      if (release !== null) {
        link.release = release
        // It said at once that it goes away.
        if (link.leaving) release()
        return link
      }
      // Whatever it still says.
      link.leaving = true
      link.socket.terminate()
      if (this.closed) throw isClosed()
    }
  }

  private async dialOnce(url: string): Promise<{ link: Link; lane: string | undefined }> {
    const { headers, tls } = this.options
    const settings = { perMessageDeflate: false, handshakeTimeout: handshakeMsMax, headers }
    const socket = new WebSocket(url, { ...settings, ...tls })
    socket.binaryType = 'nodebuffer'
    const link: Link = { socket, url, release: () => undefined, inFlight: 0, leaving: false }
    // It may come together with the answer to the upgrade.
    socket.on('ping', (data: Buffer) => {
      if (data.toString('latin1') === goingAway) this.leave(link)
    })
    this.opening = socket
    let lane: string | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('upgrade', (res: IncomingMessage) => (lane = res.headers[laneHeader] as string | undefined))
        socket.once('open', () => resolve())
        socket.once('error', reject)
        socket.once('unexpected-response', (_: unknown, res: IncomingMessage) => {
          void refused(res)
            .then(reject, reject)
            .finally(() => socket.terminate())
        })
      })
      return { link, lane }
    } finally {
      this.opening = null
    }
  }

  private leave(link: Link): void {
    this.moveOn(link)
    if (link.inFlight === 0) link.socket.close()
  }

  /** The next request goes on another connection. */
  private moveOn(link: Link): void {
    if (link.leaving) return
    link.leaving = true
    link.release()
    this.link = null
    this.at++
  }

  private received(reply: Buffer): void {
    let id: bigint
    try {
      id = replyId(reply)
    } catch {
      // Not ours to understand; whoever waits for it runs into its deadline.
      return
    }
    this.settle(id)?.resolve(reply)
  }

  private settle(id: bigint): Pending | undefined {
    const pending = this.pending.get(id)
    if (pending === undefined) return undefined
    this.pending.delete(id)
    clearTimeout(pending.timer)
    const { link } = pending
    if (link !== null && --link.inFlight === 0 && link.leaving) link.socket.close()
    return pending
  }

  private rejectAll(of: Link, why: string): void {
    for (const [id, { link }] of [...this.pending])
      if (link === of) this.settle(id)?.reject(new ScoreError('UNAVAILABLE', why))
  }
}

/** Resolves when it is, by force after a while. */
async function closed(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.close()
  const timer = setTimeout(() => socket.terminate(), closeMsMax)
  await gone
  clearTimeout(timer)
}

/** Why a server did not take a connection. */
async function refused(res: IncomingMessage): Promise<Error> {
  const pieces: Buffer[] = []
  for await (const piece of res as AsyncIterable<Buffer>) pieces.push(piece)
  return refusalOf(Buffer.concat(pieces).toString('utf8')) ?? new Error(`the server answered ${res.statusCode}`)
}

function failureOf(error: unknown): ScoreError {
  return error instanceof ScoreError ? error : new ScoreError('UNAVAILABLE', messageOf(error))
}

function isClosed(): ScoreError {
  return new ScoreError('UNAVAILABLE', 'the client is closed')
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || String((error as NodeJS.ErrnoException).code) : String(error)
}
