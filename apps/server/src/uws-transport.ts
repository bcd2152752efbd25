import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type * as Uws from 'uWebSockets.js'
import {
  backpressureBytesMax,
  idleSeconds,
  paths,
  type Door,
  type Post,
  type Responder,
  type Socket,
  type Transport,
  type TransportOptions,
} from './transport'

/*
 * The one file that knows uWebSockets.js. Its rules, which are not TypeScript's: a request and its buffers live only
 * inside their callback; every response that is answered later needs onAborted; nothing touches a response after
 * it; only calls of the v20.41 API.
 */

/** sha256 of the addons of the `uwebsockets` package, 3.0.6: native code is not loaded on trust. */
const addonHashes: Readonly<Record<string, string>> = {
  linux_x64_115: 'f4fa5d7b697529b45ac8aa3d57385d9af51bc1d2b26aa9f5b68ca4361542e665',
  linux_x64_127: '78e38a9a163b1cf33ce539619e5908111dea95a12e7943d95fbcdd524879caa8',
  linux_x64_137: '3b549c14e01d9d1faf234cdf4b6f0fb08158605e3692cd0eb1b905e327bd3449',
  linux_arm64_115: '034e0fcccdc08f90df3b130f421516311831b1352fe38eab91abc2984c2fdf3a',
  linux_arm64_127: 'a7d9bc3ec166421a49416d5ea4f49118ae68ea1dbf8a765c4f45a79b0b6adb13',
  linux_arm64_137: 'b6eb007d627e00bcce03ad38f197124e9027c03f6fe784b37f97b8a6ea709cb4',
}

/** Throws an Error that says why the addon cannot be used here. */
export function loadUws(): typeof Uws {
  const file = require.resolve('uWebSockets.js')
  const { name } = JSON.parse(readFileSync(join(dirname(file), 'package.json'), 'utf8')) as { name: string }
  const platform = `${process.platform}_${process.arch}_${process.versions.modules}`
  const expected = addonHashes[platform]
  // Under another name it is what an operator chose to install.
  if (name === 'uwebsockets' && expected !== undefined) {
    const addon = readFileSync(join(dirname(file), `uws_${platform}.node`))
    if (createHash('sha256').update(addon).digest('hex') !== expected)
      throw new Error(`uws_${platform}.node is not the file that this release was tested with`)
  }
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('uWebSockets.js') as typeof Uws
}

/** Opens the port. Several processes may open the same one (SO_REUSEPORT). Rejects when it is taken. */
export function openUws(uws: typeof Uws, options: TransportOptions): Promise<Transport> {
  const { door, bodyBytesMax } = options
  const app = uws.App()
  const sockets = new Set<UwsSocket>()
  const sending = new Set<UwsResponse>()
  const post = (dryRun: boolean) => (res: Uws.HttpResponse, req: Uws.HttpRequest) => {
    if (conflictingLengths(req)) return void res.close()
    readBody(new UwsPost(res, sending, req.getHeader('content-type'), dryRun), res, bodyBytesMax, door)
  }
  app.post(paths.score, post(false))
  app.post(paths.resolve, post(true))
  app.ws<unknown>(paths.stream, {
    maxPayloadLength: bodyBytesMax,
    maxBackpressure: backpressureBytesMax,
    closeOnBackpressureLimit: 1,
    idleTimeout: idleSeconds,
    compression: uws.DISABLED,
    upgrade: (res, req, context) => {
      res.upgrade(
        {},
        req.getHeader('sec-websocket-key'),
        req.getHeader('sec-websocket-protocol'),
        req.getHeader('sec-websocket-extensions'),
        context,
      )
    },
    open: (ws: OpenSocket) => {
      ws.socket = new UwsSocket(ws)
      sockets.add(ws.socket)
    },
    message: (ws: OpenSocket, message, isBinary) => {
      const socket = ws.socket!
      if (isBinary) door.message(socket, message, 0, message.byteLength)
      else door.text(socket, Buffer.from(message).toString('utf8'))
    },
    close: (ws: OpenSocket) => {
      const socket = ws.socket!
      socket.closed = true
      sockets.delete(socket)
    },
  })
  app.any('/*', (res, req) => {
    if (conflictingLengths(req)) return void res.close()
    const method = req.getMethod()
    const path = req.getUrl()
    const response = new UwsResponse(res, sending)
    res.onAborted(response.abort)
    door.other(response, method, path)
  })
  return new Promise((resolve, reject) => {
    app.listen(options.host, options.port, (listening) => {
      if (listening === false)
        return reject(
          new Error(`port ${options.port} of ${options.host} cannot be opened: is it taken? (MILLRACE_PORT)`),
        )
      let open = true
      const stopListening = (): void => {
        if (open) uws.us_listen_socket_close(listening)
        open = false
      }
      resolve({
        port: uws.us_socket_local_port(listening),
        kind: 'uws',
        get sockets() {
          return sockets.size
        },
        get sending() {
          return sending.size > 0 || [...sockets].some(({ ws }) => ws.getBufferedAmount() > 0)
        },
        stopListening,
        close: () => {
          stopListening()
          for (const socket of sockets) socket.ws.end(1001, 'the server stops')
          app.close()
        },
      })
    })
  })
}

/** Reads the body and hands it on: in place when it came in one piece, which nearly every one does. */
function readBody(post: UwsPost, res: Uws.HttpResponse, bytesMax: number, door: Door): void {
  let pieces: Buffer[] | null = null
  let bytes = 0
  res.onAborted(post.abort)
  res.onData((piece, isLast) => {
    if (post.closed) return
    bytes += piece.byteLength
    if (bytes > bytesMax) {
      pieces = null
      return post.refuseLarge(door)
    }
    if (isLast && pieces === null) return door.post(post, piece, 0, bytes)
    pieces ??= []
    // The piece is gone when this returns.
    pieces.push(Buffer.from(new Uint8Array(piece)))
    if (!isLast) return
    const whole = new Uint8Array(Buffer.concat(pieces))
    door.post(post, whole.buffer, 0, bytes)
  })
}

let lengths = 0
const countLength = (name: string): void => {
  if (name === 'content-length') lengths++
}

/**
 * Two Content-Length headers: the parser below takes one of them and reads the rest of the body as a request of its
 * own (request smuggling).
 */
function conflictingLengths(req: Uws.HttpRequest): boolean {
  lengths = 0
  req.forEach(countLength)
  return lengths > 1
}

/** Bodies above this, bytes, are sent as the connection takes them. */
const largeBytes = 64 * 1024

class UwsResponse implements Responder {
  closed = false
  private corked = false
  private closing = false
  /** For `onAborted`: the response must not be touched after it. */
  readonly abort = (): void => {
    this.closed = true
    this.sending.delete(this)
  }

  /** @param sending responses that are not all with the other side yet */
  constructor(
    private readonly res: Uws.HttpResponse,
    private readonly sending: Set<UwsResponse>,
  ) {}

  respond(status: string, contentType: string, body: string | Uint8Array): void {
    if (this.closed) return
    this.closed = true
    const write = (): void => {
      if (status !== '200 OK') this.res.writeStatus(status)
      this.res.writeHeader('content-type', contentType)
      if (body.length <= largeBytes) this.res.end(body, this.closing)
      else this.sendLarge(Buffer.from(body as Uint8Array))
    }
    if (this.corked) write()
    else this.res.cork(write)
  }

  cork(send: () => void): void {
    this.corked = true
    this.res.cork(send)
    this.corked = false
  }

  /** As much as the connection takes at a time: nothing waits inside the library where nobody knows of it. */
  private sendLarge(body: Buffer): void {
    const [, sent] = this.res.tryEnd(body, body.length)
    if (sent) return
    this.sending.add(this)
    this.res.onWritable((offset) => {
      const [taken, done] = this.res.tryEnd(body.subarray(offset), body.length)
      if (done) this.sending.delete(this)
      return taken
    })
  }

  refuseLarge(door: Door): void {
    this.closing = true
    door.tooLarge(this)
  }
}

class UwsPost extends UwsResponse implements Post {
  constructor(
    res: Uws.HttpResponse,
    sending: Set<UwsResponse>,
    readonly contentType: string,
    readonly dryRun: boolean,
  ) {
    super(res, sending)
  }
}

/** The library's object for a socket, the same in every callback, with a property of ours: no call to look it up. */
type OpenSocket = Uws.WebSocket<unknown> & { socket?: UwsSocket }

class UwsSocket implements Socket {
  closed = false

  constructor(readonly ws: Uws.WebSocket<unknown>) {}

  reply(message: Uint8Array): void {
    this.ws.send(message, true)
  }

  replyText(text: string): void {
    if (!this.closed) this.ws.send(text, false)
  }

  cork(send: () => void): void {
    this.ws.cork(send)
  }
}
