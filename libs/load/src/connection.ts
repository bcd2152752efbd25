import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { connect, type Socket } from 'node:net'
import { laneHeader } from '@millrace/wire'
import { maskedFrame, type Transport } from './frames'
import { reply, type ReadReply } from './replies'

/** Told of what comes over a connection. */
export interface Listener {
  /** @param id of the request that is answered; over HTTP always 0 */
  replied(connection: Connection, id: number, code: number, nowMs: number): void
  /** All that was there is read. */
  read(connection: Connection, nowMs: number): void
}

const pingOpcode = 9
const pongOpcode = 10
const closeOpcode = 8

/** A plain socket that speaks one of the two protocols, so that sending costs less than what it measures. */
export class Connection {
  /** What its owner knows it by. */
  index = 0
  private rest: Buffer = nothing
  private corked = false
  private closing = false

  private constructor(
    private readonly socket: Socket,
    /** What it said at the upgrade. */
    readonly lane: string | undefined,
    private readonly read: ReadReply,
    private readonly listener: Listener,
    private readonly failed: (error: Error) => void,
  ) {
    socket.on('data', (bytes) => this.received(bytes))
    socket.on('error', (error) => this.ended(error))
    socket.on('close', () => this.ended(new Error('the server closed a connection under load')))
  }

  static async open(
    port: number,
    transport: Transport,
    read: ReadReply,
    listener: Listener,
    failed: (error: Error) => void,
    /** What it shows at the upgrade. */
    key?: string,
  ): Promise<Connection> {
    const socket = connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    const lane = transport === 'websocket' ? await upgrade(socket, port, key) : undefined
    socket.removeAllListeners('error')
    return new Connection(socket, lane, read, listener, failed)
  }

  /** Sends bytes; those of one turn of the event loop leave together. */
  send(bytes: Buffer): void {
    if (!this.corked) {
      this.corked = true
      this.socket.cork()
      process.nextTick(this.uncork)
    }
    this.socket.write(bytes)
  }

  close(): void {
    this.closing = true
    this.socket.destroy()
  }

  private readonly uncork = (): void => {
    this.corked = false
    this.socket.uncork()
  }

  private received(bytes: Buffer): void {
    if (this.closing) return
    const all = this.rest.length > 0 ? Buffer.concat([this.rest, bytes]) : bytes
    const nowMs = performance.now()
    let at = 0
    for (;;) {
      const end = this.read(all, at)
      if (end < 0) break
      if (reply.control !== 0) this.control(reply.control, all.subarray(reply.begin, end))
      else this.listener.replied(this, reply.id, reply.code, nowMs)
      at = end
    }
    this.listener.read(this, nowMs)
    this.rest = at < all.length ? Buffer.from(all.subarray(at)) : nothing
  }

  private control(opcode: number, payload: Buffer): void {
    if (opcode === pingOpcode) this.send(maskedFrame(payload, pongOpcode))
    else if (opcode === closeOpcode) this.ended(new Error('the server closed a connection under load'))
  }

  private ended(error: Error): void {
    if (this.closing) return
    this.closing = true
    this.socket.destroy()
    this.failed(error)
  }
}

const nothing = Buffer.alloc(0)

/** Resolves with the lane that answered. */
async function upgrade(socket: Socket, port: number, key?: string): Promise<string | undefined> {
  const shown = key === undefined ? '' : `authorization: Bearer ${key}\r\n`
  socket.write(
    `GET /v1/stream HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n${shown}` +
      `sec-websocket-version: 13\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  )
  const answer = await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve).once('close', () => reject(new Error('the server closed a connection at its upgrade')))
  })
  socket.removeAllListeners('close')
  const head = answer.toString('latin1')
  if (!head.startsWith('HTTP/1.1 101')) throw new Error(`no upgrade: ${head}`)
  return new RegExp(`\\r\\n${laneHeader}: (.*)\\r\\n`, 'i').exec(head)?.[1]
}
