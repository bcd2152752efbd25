import { WebSocket } from 'ws'

/** A WebSocket that keeps every message it gets: one that came twice, or for nobody, is not overlooked. */
export class RawSocket {
  readonly messages: (Buffer | string)[] = []
  /** What was in the pings that it got. */
  readonly pings: string[] = []
  /** Resolves with the close code. */
  readonly closed: Promise<number>
  private readonly waiting = new Set<() => void>()
  private isClosed = false

  private constructor(private readonly socket: WebSocket) {
    this.closed = new Promise((resolve) =>
      socket.once('close', (code: number) => {
        this.isClosed = true
        this.wake()
        resolve(code)
      }),
    )
    socket.on('error', () => undefined)
    socket.on('ping', (data: Buffer) => this.pings.push(data.toString('latin1')))
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.messages.push(isBinary ? data : data.toString('utf8'))
      this.wake()
    })
  }

  /** Rejects when the connection is refused. */
  static open(port: number, headers: Readonly<Record<string, string>> = {}): Promise<RawSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, { perMessageDeflate: false, headers })
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.once('open', () => {
        socket.off('error', reject)
        resolve(new RawSocket(socket))
      })
    })
  }

  /** Text goes as a text message, bytes as a binary one. */
  send(message: string | Uint8Array): void {
    this.socket.send(message)
  }

  /** Resolves when `count` messages have come since the connection was opened; rejects when it closes before. */
  async received(count: number): Promise<readonly (Buffer | string)[]> {
    while (this.messages.length < count) {
      if (this.isClosed) throw new Error(`closed after ${this.messages.length} of ${count} messages`)
      await new Promise<void>((resolve) => this.waiting.add(resolve))
    }
    return this.messages
  }

  async close(): Promise<void> {
    this.socket.close()
    await this.closed
  }

  /** Goes away without a word. */
  terminate(): void {
    this.socket.terminate()
  }

  private wake(): void {
    for (const resolve of this.waiting) resolve()
    this.waiting.clear()
  }
}
