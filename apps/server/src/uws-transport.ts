import { dirname } from 'node:path'
import type * as Uws from 'uWebSockets.js'
import { Refusal } from '@millrace/base'
import { laneHeader } from '@millrace/wire'
import { HeldBytes, type Holding } from './held-bytes'
import { head, readHead } from './request-head'
import { tooManySockets, tooMuchArrives } from './refusals'
import { anybody, type Party, type Principal } from './principal'
import { goingAway } from '@millrace/wire'
import {
  allowsOrigin,
  backpressureBytesMax,
  corsHeaders,
  idleSeconds,
  paths,
  type Door,
  type Post,
  type Responder,
  type Socket,
  type Transport,
  type TransportOptions,
} from './transport'
import { checkAddon } from './uws-addon'

/*
 * The one file that knows uWebSockets.js. Its rules, which are not TypeScript's: a request and its buffers live only
 * inside their callback; every response that is answered later needs onAborted; nothing touches a response after
 * it; only calls of the v20.41 API.
 */

/** Throws an Error that says why the addon cannot be used here; `sha256` is `MILLRACE_UWS_SHA256`. */
export function loadUws(sha256: string): typeof Uws {
  checkAddon(dirname(require.resolve('uWebSockets.js')), sha256)
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('uWebSockets.js') as typeof Uws
}

/** Opens the port. Several processes may open the same one (SO_REUSEPORT). Rejects when it is taken. */
export async function openUws(uws: typeof Uws, options: TransportOptions): Promise<Transport> {
  const sockets = new Set<UwsSocket>()
  const way: WayBack = {
    leaving: false,
    connections: 0,
    sending: new Set(),
    unread: new HeldBytes(options.unreadBytesMax),
    arriving: new HeldBytes(options.arrivingBytesMax),
    arrivingBytesMax: options.arrivingBytesMax,
  }
  const first = await openApp(uws, options, options.port, sockets, way)
  // One more with each certificate that was renewed: the library has no other way for clients that name no host.
  const apps = [first]
  const stopListening = (): void => apps.at(-1)!.stopListening()
  return {
    port: first.port,
    kind: 'uws',
    get sockets() {
      return sockets.size
    },
    get unreadBytes() {
      return way.unread.bytes
    },
    get telling() {
      return way.leaving && [...sockets].some(({ told }) => !told)
    },
    get sending() {
      return way.sending.size > 0 || [...sockets].some(({ ws }) => ws.getBufferedAmount() > 0)
    },
    renewTls: async () => {
      const renewed = await openApp(uws, options, first.port, sockets, way)
      // The kernel resets what it gave to a port that is closed before it was accepted: right after all was accepted.
      await new Promise(setImmediate)
      stopListening()
      apps.push(renewed)
    },
    stopListening: () => {
      stopListening()
      way.leaving = true
      for (const socket of sockets) socket.leave()
    },
    close: () => {
      stopListening()
      for (const socket of sockets) socket.ws.end(1001, 'the server stops')
      for (const { app } of apps) app.close()
    },
  }
}

/** An app that listens; its connections go on when it does not any more. */
interface OpenApp {
  readonly app: Uws.TemplatedApp
  readonly port: number
  stopListening(): void
}

function openApp(
  uws: typeof Uws,
  { tls, host, bodyBytesMax, allowedOrigins, socketsMax, connectionsMax, door, doorkeeper, lane }: TransportOptions,
  port: number,
  sockets: Set<UwsSocket>,
  way: WayBack,
): Promise<OpenApp> {
  const app = tls === null ? uws.App() : uws.SSLApp({ cert_file_name: tls.files.cert, key_file_name: tls.files.key })
  // 1 where a connection was accepted, before a byte of it is read; -1 where it is gone, unless it is a WebSocket by then.
  const count = (res: Uws.HttpResponse, by: number): void => {
    way.connections += by
    if (by === 1 && way.connections > connectionsMax) res.close()
  }
  app.filter(count as Parameters<typeof app.filter>[0])
  const post = (dryRun: boolean) => (res: Uws.HttpResponse, req: Uws.HttpRequest) => {
    const head = readHead(req)
    if (head.hides) return void res.close()
    const { contentType, origin, chunked, hasBody } = head
    const post = new UwsPost(res, way, contentType, dryRun, door)
    if (origin !== '') {
      if (!allowsOrigin(allowedOrigins, origin)) return answerLast(post, res, () => door.foreign(post, origin))
      post.cors = corsHeaders(origin, false)
    }
    const who = doorkeeper.whoIs(head)
    if (who instanceof Refusal) return answerLast(post, res, () => door.stranger(post, who))
    post.who = who
    post.closing = chunked || !hasBody
    readBody(post, res, bodyBytesMax, way, door)
  }
  app.post(paths.score, post(false))
  app.post(paths.resolve, post(true))
  app.ws<Upgraded>(paths.stream, {
    maxPayloadLength: bodyBytesMax,
    maxBackpressure: backpressureBytesMax,
    closeOnBackpressureLimit: 1,
    idleTimeout: idleSeconds,
    compression: uws.DISABLED,
    upgrade: (res, req, context) => {
      const { hides, origin } = readHead(req)
      if (hides || req.getHeader('sec-websocket-version') !== '13') return void res.close()
      if (!allowsOrigin(allowedOrigins, origin)) {
        const response = new UwsResponse(res, way)
        return answerLast(response, res, () => door.foreign(response, origin))
      }
      const who = sockets.size < socketsMax ? doorkeeper.whoIs(head) : tooManySockets(socketsMax)
      if (who instanceof Refusal) {
        const response = new UwsResponse(res, way)
        return answerLast(response, res, () => door.stranger(response, who))
      }
      // The status first, or the library writes another.
      res.writeStatus('101 Switching Protocols').writeHeader(laneHeader, lane)
      res.upgrade(
        { who },
        req.getHeader('sec-websocket-key'),
        req.getHeader('sec-websocket-protocol'),
        req.getHeader('sec-websocket-extensions'),
        context,
      )
    },
    open: (ws: OpenSocket) => {
      way.connections--
      ws.socket = new UwsSocket(ws, ws.getUserData().who, way.unread)
      sockets.add(ws.socket)
      if (way.leaving) ws.socket.leave()
    },
    message: (ws: OpenSocket, message, isBinary) => {
      const socket = ws.socket!
      if (isBinary) door.message(socket, message, 0, message.byteLength)
      else door.text(socket, Buffer.from(message).toString('utf8'))
    },
    // Its pong, which the library sent or dropped without saying so, may wait.
    ping: (ws: OpenSocket) => ws.socket!.waits(),
    drain: (ws: OpenSocket) => ws.socket!.waits(),
    close: (ws: OpenSocket) => {
      const socket = ws.socket!
      socket.closed = true
      way.unread.set(socket, 0)
      sockets.delete(socket)
    },
  })
  app.any('/*', (res, req) => {
    const { hides, origin } = readHead(req)
    if (hides) return void res.close()
    const method = req.getMethod()
    const path = req.getUrl()
    const response = new UwsResponse(res, way)
    answerLast(response, res, () => {
      if (!allowsOrigin(allowedOrigins, origin)) return door.foreign(response, origin)
      if (origin !== '') response.cors = corsHeaders(origin, method === 'options')
      const preflight = method === 'options' && origin !== '' && (path === paths.score || path === paths.resolve)
      if (preflight) response.respond('204 No Content', '', '')
      else door.other(response, method, path)
    })
  })
  return new Promise((resolve, reject) => {
    app.listen(host, port, (listening) => {
      if (listening === false)
        return reject(new Error(`port ${port} of ${host} cannot be opened: is it taken? (MILLRACE_PORT)`))
      let open = true
      resolve({
        app,
        port: uws.us_socket_local_port(listening),
        stopListening: () => {
          if (open) uws.us_listen_socket_close(listening)
          open = false
        },
      })
    })
  })
}

/**
 * Answers in the next turn and closes the connection: of a request whose end a proxy may see elsewhere, nothing that
 * follows is executed. The library closes a connection that brings a request while another is not answered.
 */
function answerLast(response: UwsResponse, res: Uws.HttpResponse, answer: () => void): void {
  response.closing = true
  res.onAborted(response.abort)
  setImmediate(answer)
}

/** Reads the body and hands it on: in place when it came in one piece, which nearly every one does. */
function readBody(post: UwsPost, res: Uws.HttpResponse, bytesMax: number, { arriving }: WayBack, door: Door): void {
  let pieces: Buffer[] | null = null
  let bytes = 0
  res.onAborted(post.abort)
  res.onData((piece, isLast) => {
    if (post.closed) return
    bytes += piece.byteLength
    if (bytes > bytesMax) {
      pieces = null
      arriving.set(post, 0)
      post.closing = true
      return door.tooLarge(post)
    }
    if (isLast && pieces === null && !post.closing) return door.post(post, piece, 0, bytes)
    pieces ??= []
    // The piece is gone when this returns.
    pieces.push(Buffer.from(new Uint8Array(piece)))
    arriving.set(post, isLast ? 0 : bytes)
    if (!isLast) return
    const whole = new Uint8Array(Buffer.concat(pieces))
    if (post.closing) setImmediate(() => door.post(post, whole.buffer, 0, bytes))
    else door.post(post, whole.buffer, 0, bytes)
  })
}

/** Bodies above this, bytes, are sent as the connection takes them. */
const largeBytes = 64 * 1024

/** What was answered and is not all with the other side yet. */
interface WayBack {
  /** Connections that are no WebSockets. */
  connections: number
  /** The server drains: connections end with their next answer. */
  leaving: boolean
  readonly sending: Set<UwsResponse>
  readonly unread: HeldBytes
  /** Bodies that are not whole. */
  readonly arriving: HeldBytes
  readonly arrivingBytesMax: number
}

class UwsResponse implements Responder, Holding {
  closed = false
  /** Until it is known. */
  who = anybody
  inFlight = 0
  arenaBytes = 0
  /** The connection ends with the answer. */
  closing = false
  cors: Readonly<Record<string, string>> | null = null
  private corked = false
  /** For `onAborted`: the response must not be touched after it. */
  readonly abort = (): void => {
    this.closed = true
    this.gone()
  }

  constructor(
    private readonly res: Uws.HttpResponse,
    protected readonly way: WayBack,
  ) {}

  respond(status: string, contentType: string, body: string | Uint8Array): void {
    if (this.closed) return
    this.closed = true
    if (this.corked) this.write(status, contentType, body)
    else this.res.cork(() => this.write(status, contentType, body))
  }

  private write(status: string, contentType: string, body: string | Uint8Array): void {
    if (status !== '200 OK') this.res.writeStatus(status)
    if (contentType !== '') this.res.writeHeader('content-type', contentType)
    if (status.startsWith('401')) this.res.writeHeader('www-authenticate', 'Bearer')
    if (this.cors !== null) for (const name in this.cors) this.res.writeHeader(name, this.cors[name]!)
    const last = this.closing || this.way.leaving
    // The library closes the connection without having said so.
    if (last) this.res.writeHeader('connection', 'close')
    if (body.length <= largeBytes || this.closing) this.res.end(body, last)
    else this.sendLarge(Buffer.from(body as Uint8Array))
  }

  cork(send: () => void): void {
    this.corked = true
    this.res.cork(send)
    this.corked = false
  }

  drop(): void {
    setImmediate(() => this.way.sending.has(this) && this.res.close())
  }

  /** As much as the connection takes at a time: nothing waits inside the library where nobody knows of it. */
  private sendLarge(body: Buffer): void {
    const { sending, unread } = this.way
    const [, sent] = this.res.tryEnd(body, body.length)
    if (sent) return
    this.res.onWritable((offset) => {
      const [taken, done] = this.res.tryEnd(body.subarray(offset), body.length)
      if (done) this.sent()
      else unread.set(this, body.length - this.res.getWriteOffset())
      return taken
    })
    sending.add(this)
    unread.set(this, body.length - this.res.getWriteOffset())
  }

  /** Nobody is there any more. */
  protected gone(): void {
    this.sent()
  }

  /** All of it is with the other side. */
  private sent(): void {
    this.way.sending.delete(this)
    this.way.unread.set(this, 0)
  }
}

class UwsPost extends UwsResponse implements Post {
  constructor(
    res: Uws.HttpResponse,
    way: WayBack,
    readonly contentType: string,
    readonly dryRun: boolean,
    private readonly door: Door,
  ) {
    super(res, way)
  }

  override drop(): void {
    if (this.closed) return super.drop()
    // Its body is not whole. Not within a callback of the library.
    setImmediate(() => {
      this.closing = true
      this.door.stranger(this, tooMuchArrives(this.way.arrivingBytesMax))
    })
  }

  protected override gone(): void {
    super.gone()
    this.way.arriving.set(this, 0)
  }
}

/** The library's object for a socket, the same in every callback, with a property of ours: no call to look it up. */
type OpenSocket = Uws.WebSocket<Upgraded> & { socket?: UwsSocket }

/** What an upgrade hands on. */
interface Upgraded {
  readonly who: Principal
}

/** What the library says of a message that it was given: it is with the kernel, it waits, or it is dropped. */
const Sent = { gone: 1, dropped: 2 } as const

class UwsSocket implements Socket, Party, Holding {
  lastRun = -1
  /** It answered that the server goes away. */
  told = false
  inFlight = 0
  arenaBytes = 0
  closed = false

  constructor(
    readonly ws: OpenSocket,
    readonly who: Principal,
    private readonly unread: HeldBytes,
  ) {}

  get party(): Party {
    return this
  }

  reply(message: Uint8Array): void {
    this.sent(this.ws.send(message, true))
  }

  replyText(text: string): void {
    if (!this.closed) this.sent(this.ws.send(text, false))
  }

  cork(send: () => void): void {
    this.ws.cork(send)
  }

  leave(): void {
    this.ws.ping(goingAway)
  }

  drop(): void {
    // Not within a callback of the library; and no close frame: it would wait behind all that is not read.
    setImmediate(() => this.closed || this.ws.close())
  }

  /** Looks how much the library keeps for a client that does not read, and lets one go that is above its limit. */
  waits(): void {
    const bytes = this.ws.getBufferedAmount()
    this.unread.set(this, bytes)
    // The library itself only stops reading, which a client that keeps sending does not notice.
    if (bytes > backpressureBytesMax) this.drop()
  }

  private sent(how: number): void {
    if (how === Sent.gone) return
    if (how === Sent.dropped) this.drop()
    else this.waits()
  }
}
