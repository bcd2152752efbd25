import { createServer, ServerResponse, STATUS_CODES, type IncomingMessage } from 'node:http'
import { createServer as createTlsServer, type Server } from 'node:https'
import { Server as Listener, type AddressInfo, type Socket as Connection } from 'node:net'
import { TLSSocket } from 'node:tls'
import { WebSocketServer, type RawData, type WebSocket } from 'ws'
import { Refusal } from '@millrace/base'
import { laneHeader } from '@millrace/wire'
import type { Shown } from './doorkeeper'
import { goingAway } from '@millrace/wire'
import { httpLimits, isPlain } from './http-limits'
import { HeldBytes, type Holding } from './held-bytes'
import { tooManySockets, tooMuchArrives } from './refusals'
import { anybody, type Party, type Principal } from './principal'
import { peerOf, secureOptions, type Peer } from './tls'
import {
  allowsOrigin,
  backpressureBytesMax,
  corsHeaders,
  idleSeconds,
  paths,
  readSecondsMax,
  type Post,
  type Socket,
  type Transport,
  type TransportOptions,
} from './transport'

/** The same door on node:http and ws: for machines where uWebSockets.js does not load. One process to a port. */
export async function openNode(options: TransportOptions): Promise<Transport> {
  const { door, doorkeeper, socketsMax, connectionsMax, bodyBytesMax, allowedOrigins, tls } = options
  const connections = new Set<Connection>()
  const unread = new HeldBytes(options.unreadBytesMax)
  const arriving = new HeldBytes(options.arrivingBytesMax)
  const peers = new WeakMap<Connection, Peer | null>()
  /** The server drains: connections end with their next answer. */
  let leaving = false
  const waiting = new Set<NodePost>()
  const serve = (req: IncomingMessage, res: ServerResponse): void => {
    // What follows in the same packet is read all the same.
    if (req.socket.destroyed || !isPlain(req)) return void req.socket.destroy()
    const path = pathOf(req)
    const origin = req.headers.origin ?? ''
    const post = new NodePost(res, req, path === paths.resolve, unread)
    waiting.add(post)
    res.once('close', () => waiting.delete(post))
    if (leaving) post.closing()
    if (!allowsOrigin(allowedOrigins, origin)) {
      req.resume()
      return door.foreign(post, origin)
    }
    const known = path === paths.score || path === paths.resolve
    if (origin !== '') post.allow(origin, req.method === 'OPTIONS')
    if (req.method === 'OPTIONS' && origin !== '' && known) return void res.writeHead(204).end()
    if (req.method !== 'POST' || !known) {
      req.resume()
      return door.other(post, req.method ?? 'GET', path)
    }
    const who = doorkeeper.whoIs(shownBy(req, peers))
    if (who instanceof Refusal) {
      req.resume()
      return door.stranger(post.closing(), who)
    }
    post.who = who
    const tooMuch = (): void => door.stranger(post.closing(), tooMuchArrives(options.arrivingBytesMax))
    readBody(req, bodyBytesMax, arriving, tooMuch, (body) => {
      if (body === null) return door.tooLarge(post.closing())
      door.post(post, body.buffer, 0, body.byteLength)
    })
  }
  const server =
    tls === null
      ? createServer(httpLimits, serve)
      : createTlsServer({ ...httpLimits, ...secureOptions(tls.texts) }, serve)
  server.on(tls === null ? 'connection' : 'secureConnection', (connection: Connection) => {
    connections.add(connection)
    connection.once('close', () => connections.delete(connection))
    if (connection instanceof TLSSocket) peers.set(connection, peerOf(connection))
  })
  let open = 0
  server.on('connection', (connection: Connection) => {
    if (++open - sockets.size > connectionsMax) connection.destroy()
    connection.once('close', () => open--)
  })
  const webSockets = new WebSocketServer({ noServer: true, maxPayload: bodyBytesMax, perMessageDeflate: false })
  server.on('upgrade', (req: IncomingMessage, connection: Connection, head: Buffer) => {
    const origin = req.headers.origin ?? ''
    const status =
      !isPlain(req) || req.headers['sec-websocket-version'] !== '13'
        ? 400
        : pathOf(req) !== paths.stream
          ? 404
          : allowsOrigin(allowedOrigins, origin)
            ? 101
            : 403
    if (status !== 101)
      return void connection.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\n\r\n`)
    const who = sockets.size < socketsMax ? doorkeeper.whoIs(shownBy(req, peers)) : tooManySockets(socketsMax)
    if (who instanceof Refusal) return door.stranger(new NodePost(responseOn(connection, req), req, false, unread), who)
    webSockets.handleUpgrade(req, connection, head, (ws) => webSockets.emit('connection', ws, who))
  })
  webSockets.on('headers', (headers) => headers.push(`${laneHeader}: ${options.lane}`))
  const sockets = new Set<NodeSocket>()
  webSockets.on('connection', (ws: WebSocket, who: Principal) => {
    const socket = new NodeSocket(ws, who, unread)
    sockets.add(socket)
    if (leaving) ws.ping(goingAway)
    ws.on('message', (data: RawData, isBinary) => {
      const bytes = data as Buffer
      if (!isBinary) return door.text(socket, bytes.toString('utf8'))
      const own = new Uint8Array(bytes)
      door.message(socket, own.buffer, 0, own.byteLength)
    })
    ws.on('pong', (data: Buffer) => {
      socket.heard = true
      socket.told ||= data.toString('latin1') === goingAway
    })
    ws.on('close', () => {
      socket.closed = true
      unread.set(socket, 0)
      sockets.delete(socket)
    })
    // A broken frame closes the socket; there is nobody to tell.
    ws.on('error', () => undefined)
  })
  const pinging = setInterval(() => ping(sockets), (idleSeconds / 2) * 1000).unref()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    kind: 'node',
    get sockets() {
      return sockets.size
    },
    get unreadBytes() {
      return unread.bytes
    },
    get telling() {
      return leaving && [...sockets].some(({ told }) => !told)
    },
    get sending() {
      return [...connections].some(({ writableLength }) => writableLength > 0)
    },
    renewTls: (texts) => {
      ;(server as Server).setSecureContext(secureOptions(texts))
      return Promise.resolve()
    },
    // Not http's own close: it takes a connection whose answer is still being read for idle, and ends it.
    stopListening: () => {
      Listener.prototype.close.call(server)
      leaving = true
      for (const post of waiting) post.closing()
      for (const { ws } of sockets) ws.ping(goingAway)
    },
    close: () => {
      clearInterval(pinging)
      for (const { ws } of sockets) ws.close(1001, 'the server stops')
      server.close()
      server.closeAllConnections()
    },
  }
}

/** What the other side of a request shows of itself. */
function shownBy(req: IncomingMessage, peers: WeakMap<Connection, Peer | null>): Shown {
  const { authorization = '', 'x-api-key': apiKey = '' } = req.headers
  return { authorization, apiKey: String(apiKey), peer: peers.get(req.socket) ?? null }
}

/** The answer to an upgrade that is refused, the last on its connection: http leaves that to whoever upgrades. */
function responseOn(connection: Connection, req: IncomingMessage): ServerResponse {
  const res = new ServerResponse(req)
  res.shouldKeepAlive = false
  res.assignSocket(connection)
  res.once('finish', () => connection.end())
  return res
}

function pathOf(req: IncomingMessage): string {
  return (req.url ?? '').split('?')[0]!
}

/**
 * The whole body in a buffer of its own, or null when it is too large.
 *
 * @param tooMuch called in its place when bodies that are not whole are too large together, and this one is the largest
 */
function readBody(
  req: IncomingMessage,
  bytesMax: number,
  arriving: HeldBytes,
  tooMuch: () => void,
  done: (body: Uint8Array<ArrayBuffer> | null) => void,
): void {
  let pieces: Buffer[] | null = []
  let bytes = 0
  const leave = (): void => {
    pieces = null
    arriving.set(holding, 0)
  }
  const holding: Holding = {
    drop: () => {
      leave()
      tooMuch()
    },
  }
  req.on('data', (piece: Buffer) => {
    if (pieces === null) return
    bytes += piece.length
    if (bytes > bytesMax) {
      leave()
      return done(null)
    }
    pieces.push(piece)
    arriving.set(holding, bytes)
  })
  req.on('close', leave)
  req.on('end', () => {
    if (pieces === null) return
    const body = new Uint8Array(Buffer.concat(pieces))
    leave()
    done(body)
  })
}

function ping(sockets: Iterable<NodeSocket>): void {
  for (const socket of sockets) {
    if (!socket.heard) socket.ws.terminate()
    socket.heard = false
    socket.ws.ping()
  }
}

class NodePost implements Post, Holding {
  readonly contentType: string
  /** Until it is known. */
  who = anybody
  inFlight = 0
  arenaBytes = 0

  constructor(
    private readonly res: ServerResponse,
    req: IncomingMessage,
    readonly dryRun: boolean,
    private readonly unread: HeldBytes,
  ) {
    this.contentType = req.headers['content-type'] ?? ''
  }

  get closed(): boolean {
    return this.res.writableEnded || this.res.destroyed
  }

  /** Its answer is its connection's last. */
  closing(): this {
    if (!this.res.headersSent) this.res.setHeader('connection', 'close')
    return this
  }

  /** Lets a page of this origin read the answer. */
  allow(origin: string, preflight: boolean): void {
    for (const [name, value] of Object.entries(corsHeaders(origin, preflight))) this.res.setHeader(name, value)
  }

  respond(status: string, contentType: string, body: string | Uint8Array): void {
    if (this.closed) return
    const bytes = Buffer.from(body as Uint8Array)
    this.res.statusCode = Number.parseInt(status, 10)
    this.res.setHeader('content-type', contentType)
    if (this.res.statusCode === 401) this.res.setHeader('www-authenticate', 'Bearer')
    this.res.end(bytes)
    this.endUnread()
  }

  cork(send: () => void): void {
    send()
  }

  drop(): void {
    this.res.destroy()
  }

  /** Nobody keeps an answer here by not reading it. */
  private endUnread(): void {
    const { socket } = this.res
    if (socket === null || socket.writableLength === 0) return
    const end = (): void => this.drop()
    // Node looks twice: whether something was taken since the first time.
    socket.setTimeout(readSecondsMax * 500, end)
    this.res.once('close', () => {
      socket.off('timeout', end)
      this.unread.set(this, 0)
    })
    this.unread.set(this, socket.writableLength)
  }
}

class NodeSocket implements Socket, Party, Holding {
  lastRun = -1
  inFlight = 0
  arenaBytes = 0
  closed = false
  /** It answered that the server goes away. */
  told = false
  /** Said something since the last ping. */
  heard = true

  constructor(
    readonly ws: WebSocket,
    readonly who: Principal,
    private readonly unread: HeldBytes,
  ) {}

  get party(): Party {
    return this
  }

  reply(message: Uint8Array): void {
    this.send(Buffer.from(message))
  }

  replyText(text: string): void {
    this.send(text)
  }

  cork(send: () => void): void {
    send()
  }

  drop(): void {
    // No close frame: it would wait behind all that is not read.
    this.ws.terminate()
  }

  private readonly sent = (): void => this.unread.set(this, this.closed ? 0 : this.ws.bufferedAmount)

  private send(data: Buffer | string): void {
    if (this.closed) return
    if (this.ws.bufferedAmount > backpressureBytesMax) return this.drop()
    this.ws.send(data, this.sent)
    if (this.ws.bufferedAmount > 0) this.sent()
  }
}
