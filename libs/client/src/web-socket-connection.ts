import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { replyId } from '@millrace/wire'
import { refusalOf, type ClientTls, type Connection } from './connection'
import { ScoreError } from './score-error'

interface Pending {
  readonly resolve: (reply: Uint8Array) => void
  readonly reject: (error: ScoreError) => void
  readonly timer: NodeJS.Timeout
}

const backOffMs = { first: 50, most: 5_000 }
const handshakeMsMax = 10_000
const closeMsMax = 1_000

/**
 * One WebSocket with many requests in flight. When it breaks, what is in flight is rejected and the next request
 * connects again, after a back-off that doubles (with jitter, so that a fleet does not come back as one).
 */
export class WebSocketConnection implements Connection {
  private readonly pending = new Map<bigint, Pending>()
  private socket: Promise<WebSocket> | null = null
  /** The one that is being opened. */
  private opening: WebSocket | null = null
  private readonly backingOff = new AbortController()
  private failures = 0
  private closed = false

  /** @param url `ws://host:port/v1/stream`, or wss */
  constructor(
    private readonly url: string,
    private readonly options: { readonly headers: Readonly<Record<string, string>>; readonly tls?: ClientTls },
  ) {}

  async send(id: bigint, message: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return new Promise<Uint8Array>((resolve, reject) => {
      if (this.closed) return reject(new ScoreError('UNAVAILABLE', 'the client is closed'))
      const timer = setTimeout(() => {
        this.pending.delete(id)
        reject(new ScoreError('DEADLINE_EXCEEDED', `no answer within ${timeoutMs} ms`))
      }, timeoutMs)
      this.pending.set(id, { resolve, reject, timer })
      this.open().then(
        // It may have been given up while the connection was made.
        (socket) => this.pending.has(id) && socket.send(message),
        (error: unknown) => this.settle(id)?.reject(failureOf(this.url, error)),
      )
    })
  }

  async close(): Promise<void> {
    this.closed = true
    this.rejectAll('the client is closed')
    this.backingOff.abort()
    this.opening?.terminate()
    const socket = await this.socket?.catch(() => null)
    if (socket === null || socket === undefined || socket.readyState === WebSocket.CLOSED) return
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.close()
    const timer = setTimeout(() => socket.terminate(), closeMsMax)
    await gone
    clearTimeout(timer)
  }

  private open(): Promise<WebSocket> {
    return (this.socket ??= this.connect())
  }

  private async connect(): Promise<WebSocket> {
    if (this.failures > 0) {
      const ms = Math.min(backOffMs.most, backOffMs.first * 2 ** (this.failures - 1))
      await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal: this.backingOff.signal })
    }
    const { headers, tls } = this.options
    const settings = { perMessageDeflate: false, handshakeTimeout: handshakeMsMax, headers }
    const socket = new WebSocket(this.url, { ...settings, ...tls })
    socket.binaryType = 'nodebuffer'
    this.opening = socket
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('open', () => resolve())
        socket.once('error', reject)
        socket.once('unexpected-response', (_: unknown, res: IncomingMessage) => {
          void refused(res)
            .then(reject, reject)
            .finally(() => socket.terminate())
        })
      })
    } catch (error) {
      this.failures++
      this.socket = null
      throw error
    } finally {
      this.opening = null
    }
    this.failures = 0
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.received(data)
    })
    // 'close' follows.
    socket.on('error', () => undefined)
    socket.once('close', (code: number) => {
      this.socket = null
      this.rejectAll(`the connection to ${this.url} closed (${code})`)
    })
    return socket
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
    return pending
  }

  private rejectAll(why: string): void {
    for (const id of [...this.pending.keys()]) this.settle(id)?.reject(new ScoreError('UNAVAILABLE', why))
  }
}

/** Why a server did not take a connection. */
async function refused(res: IncomingMessage): Promise<Error> {
  const pieces: Buffer[] = []
  for await (const piece of res as AsyncIterable<Buffer>) pieces.push(piece)
  return refusalOf(Buffer.concat(pieces).toString('utf8')) ?? new Error(`the server answered ${res.statusCode}`)
}

function failureOf(url: string, error: unknown): ScoreError {
  return error instanceof ScoreError ? error : new ScoreError('UNAVAILABLE', `${url}: ${messageOf(error)}`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || String((error as NodeJS.ErrnoException).code) : String(error)
}
