import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Server as Listener, type AddressInfo, type Socket as Connection } from 'node:net'
import { WebSocketServer, type RawData, type WebSocket } from 'ws'
import {
  backpressureBytesMax,
  idleSeconds,
  paths,
  type Post,
  type Socket,
  type Transport,
  type TransportOptions,
} from './transport'

/** The same door on node:http and ws: for machines where uWebSockets.js does not load. One process to a port. */
export async function openNode(options: TransportOptions): Promise<Transport> {
  const { door, bodyBytesMax } = options
  const connections = new Set<Connection>()
  const server = createServer((req, res) => {
    const path = (req.url ?? '').split('?')[0]!
    const post = new NodePost(res, req.headers['content-type'] ?? '', path === paths.resolve)
    if (req.method !== 'POST' || (path !== paths.score && path !== paths.resolve)) {
      req.resume()
      return door.other(post, req.method ?? 'GET', path)
    }
    readBody(req, bodyBytesMax, (body) => {
      if (body === null) return door.tooLarge(post.closing())
      door.post(post, body.buffer, 0, body.byteLength)
    })
  })
  server.on('connection', (connection) => {
    connections.add(connection)
    connection.once('close', () => connections.delete(connection))
  })
  const webSockets = new WebSocketServer({
    server,
    path: paths.stream,
    maxPayload: bodyBytesMax,
    perMessageDeflate: false,
  })
  const sockets = new Set<NodeSocket>()
  webSockets.on('connection', (ws) => {
    const socket = new NodeSocket(ws)
    sockets.add(socket)
    ws.on('message', (data: RawData, isBinary) => {
      const bytes = data as Buffer
      if (!isBinary) return door.text(socket, bytes.toString('utf8'))
      const own = new Uint8Array(bytes)
      door.message(socket, own.buffer, 0, own.byteLength)
    })
    ws.on('pong', () => (socket.heard = true))
    ws.on('close', () => {
      socket.closed = true
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
    get sending() {
      return [...connections].some(({ writableLength }) => writableLength > 0)
    },
    // Not http's own close: it takes a connection whose answer is still being read for idle, and ends it.
    stopListening: () => void Listener.prototype.close.call(server),
    close: () => {
      clearInterval(pinging)
      for (const { ws } of sockets) ws.close(1001, 'the server stops')
      server.close()
      server.closeAllConnections()
    },
  }
}

/** The whole body in a buffer of its own, or null when it is too large. */
function readBody(req: IncomingMessage, bytesMax: number, done: (body: Uint8Array<ArrayBuffer> | null) => void): void {
  const pieces: Buffer[] = []
  let bytes = 0
  req.on('data', (piece: Buffer) => {
    bytes += piece.length
    if (bytes <= bytesMax) pieces.push(piece)
    else if (bytes - piece.length <= bytesMax) {
      pieces.length = 0
      done(null)
    }
  })
  req.on('end', () => {
    if (bytes <= bytesMax) done(new Uint8Array(Buffer.concat(pieces)))
  })
}

function ping(sockets: Iterable<NodeSocket>): void {
  for (const socket of sockets) {
    if (!socket.heard) socket.ws.terminate()
    socket.heard = false
    socket.ws.ping()
  }
}

class NodePost implements Post {
  constructor(
    private readonly res: ServerResponse,
    readonly contentType: string,
    readonly dryRun: boolean,
  ) {}

  get closed(): boolean {
    return this.res.writableEnded || this.res.destroyed
  }

  closing(): this {
    this.res.setHeader('connection', 'close')
    return this
  }

  respond(status: string, contentType: string, body: string | Uint8Array): void {
    if (this.closed) return
    const bytes = Buffer.from(body as Uint8Array)
    this.res.statusCode = Number.parseInt(status, 10)
    this.res.setHeader('content-type', contentType)
    this.res.end(bytes)
  }

  cork(send: () => void): void {
    send()
  }
}

class NodeSocket implements Socket {
  closed = false
  /** Said something since the last ping. */
  heard = true

  constructor(readonly ws: WebSocket) {}

  reply(message: Uint8Array): void {
    this.send(Buffer.from(message))
  }

  replyText(text: string): void {
    this.send(text)
  }

  cork(send: () => void): void {
    send()
  }

  private send(data: Buffer | string): void {
    if (this.closed) return
    if (this.ws.bufferedAmount > backpressureBytesMax) return this.ws.terminate()
    this.ws.send(data)
  }
}
