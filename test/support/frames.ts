import { connect, type Socket } from 'node:net'

/** A frame as a client sends it (RFC 6455, 5.2): the first byte has FIN, the reserved bits and the opcode. */
export function frame(first: number, payload: string | Uint8Array = '', masked = true): Buffer {
  const bytes = Buffer.from(payload as string)
  const bit = masked ? 0x80 : 0
  let head: Buffer
  if (bytes.length < 126) head = Buffer.of(first, bit | bytes.length)
  else if (bytes.length < 65_536) {
    head = Buffer.of(first, bit | 126, 0, 0)
    head.writeUInt16BE(bytes.length, 2)
  } else {
    head = Buffer.alloc(10)
    head.writeUInt16BE((first << 8) | bit | 127)
    head.writeBigUInt64BE(BigInt(bytes.length), 2)
  }
  if (!masked) return Buffer.concat([head, bytes])
  const mask = Buffer.of(7, 77, 177, 27)
  return Buffer.concat([head, mask, bytes.map((byte, i) => byte ^ mask[i & 3]!)])
}

export interface Frame {
  readonly first: number
  readonly payload: Buffer
}

const quietMs = 400

/** A WebSocket down to its bytes: what no library would send, and nothing is read that is not asked for. */
export class FrameSocket {
  readonly frames: Frame[] = []
  /** Resolves when the other side closed the connection. */
  readonly closed: Promise<void>
  isClosed = false
  private rest = Buffer.alloc(0)
  private heard: () => void = () => undefined

  private constructor(
    readonly socket: Socket,
    /** The head of the answer to the upgrade. */
    readonly head: string,
    rest: Buffer,
  ) {
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        this.isClosed = true
        resolve()
        this.heard()
      }),
    )
    socket.on('data', (piece: Buffer) => this.take(piece))
    this.take(rest)
  }

  /** Resolves with the answer to the upgrade, whatever its status. */
  static open(port: number, headers: Readonly<Record<string, string>> = {}): Promise<FrameSocket> {
    const all = {
      host: 'x',
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
      ...headers,
    }
    const lines = Object.entries(all).map((pair) => pair.join(': '))
    const socket = connect(port, '127.0.0.1')
    // Closed is closed.
    socket.on('error', () => undefined)
    return new Promise((resolve, reject) => {
      let answer = Buffer.alloc(0)
      const take = (piece: Buffer): void => {
        answer = Buffer.concat([answer, piece])
        const end = answer.indexOf('\r\n\r\n')
        if (end < 0) return
        socket.off('data', take)
        socket.off('close', gone)
        resolve(new FrameSocket(socket, answer.toString('latin1', 0, end), answer.subarray(end + 4)))
      }
      const gone = (): void => reject(new Error('closed without an answer'))
      socket.on('data', take)
      socket.once('close', gone)
      socket.write(`GET /v1/stream HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`)
    })
  }

  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.head)?.[1])
  }

  send(...frames: readonly (Uint8Array | string)[]): void {
    for (const one of frames) if (!this.socket.destroyed) this.socket.write(one)
  }

  /** Sends this again and again, as fast as the other side takes it, until that closes the connection. */
  flood(bytes: Uint8Array): void {
    const more = (): void => {
      while (!this.socket.destroyed && this.socket.write(bytes));
    }
    this.socket.on('drain', more)
    more()
  }

  /** Resolves when the connection is closed, or nothing has come for a while. */
  async settled(): Promise<void> {
    while (!this.isClosed) {
      const quiet = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(true), quietMs)
        this.heard = () => {
          clearTimeout(timer)
          resolve(false)
        }
      })
      if (quiet) return
    }
  }

  /** The code of the close frame that came; null when none did. */
  get closeCode(): number | null {
    const close = this.frames.find(({ first }) => (first & 15) === 8)
    return close === undefined ? null : close.payload.length < 2 ? 1005 : close.payload.readUInt16BE(0)
  }

  destroy(): void {
    this.socket.destroy()
  }

  private take(piece: Buffer): void {
    this.rest = Buffer.concat([this.rest, piece])
    for (;;) {
      const { rest } = this
      if (rest.length < 2) break
      const short = rest[1]! & 127
      const begin = short < 126 ? 2 : short === 126 ? 4 : 10
      if (rest.length < begin) break
      const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2))
      if (rest.length < begin + length) break
      this.frames.push({ first: rest[0]!, payload: rest.subarray(begin, begin + length) })
      this.rest = rest.subarray(begin + length)
    }
    this.heard()
  }
}
