import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { fromColumn } from '@millrace/client'
import { decodeReply, goingAway } from '@millrace/wire'
import { check, plainOutputs, type Case } from './load-cases'
import { message } from './messages'
import { ownerOf } from './process-figures'

export interface LoadOptions {
  readonly port: number
  readonly sockets: number
  /** Requests that a socket has in flight. */
  readonly inFlight: number
  readonly deadlineMs?: number
  /** The next request. */
  next(): Case
  /** Processes that a connection may be with. */
  lanes(): readonly number[]
}

/** Requests that had no answer when their connection ended. */
export interface Loss {
  /** Who had the connection; null where it ended before its first answer. */
  readonly lane: number | null
  readonly requests: number
}

const windowMs = 100
const reconnectMs = 20
/** Before the next request, after one that was refused. */
const refusedMs = 5

/**
 * A closed loop over WebSockets that sends nothing again, so that each request is accounted for: answered, by its code,
 * or lost with its connection. A connection that ends is opened again. What is answered OK is compared with what it
 * should be.
 */
export class Load {
  sent = 0
  /** By code. */
  readonly answered: Record<string, number> = {}
  readonly losses: Loss[] = []
  /** Answers that are not what they should be. */
  readonly wrong: string[] = []
  /** Microseconds of what was answered OK since this was emptied. */
  times: number[] = []
  /** Answers OK in each tenth of a second since the start. */
  private readonly windows: number[] = []
  private readonly begun = performance.now()
  private nextId = 1n
  private stopping = false
  private readonly running: Promise<void>[]

  constructor(private readonly options: LoadOptions) {
    this.running = Array.from({ length: options.sockets }, () => this.run())
  }

  /** Answers OK a second, in the last `windows` tenths of it that are over. */
  rate(windows: number): number {
    const now = this.window()
    let ok = 0
    for (let w = now - windows; w < now; w++) ok += this.windows[w] ?? 0
    return (ok * 1000) / (windows * windowMs)
  }

  /** Milliseconds from `fromMs`, a `performance.now()`, to the end of the last three tenths of a second slower than `rate`. */
  slowMs(fromMs: number, rate: number): number {
    const from = Math.floor((fromMs - this.begun) / windowMs) + 1
    let slow = 0
    for (let w = from; w + 3 <= this.window(); w++) {
      const ok = [w, w + 1, w + 2].reduce((sum, one) => sum + (this.windows[one] ?? 0), 0)
      if ((ok * 1000) / (3 * windowMs) < rate) slow = (w + 3) * windowMs + this.begun - fromMs
    }
    return Math.round(slow)
  }

  get ok(): number {
    return this.answered['OK'] ?? 0
  }

  get lost(): number {
    return this.losses.reduce((sum, { requests }) => sum + requests, 0)
  }

  /** Sends nothing more; resolves when all that was sent is answered or lost. */
  async stop(): Promise<void> {
    this.stopping = true
    await Promise.all(this.running)
  }

  private window(): number {
    return Math.floor((performance.now() - this.begun) / windowMs)
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      await this.connection()
      if (!this.stopping) await delay(reconnectMs)
    }
  }

  /** One connection, to its end. */
  private connection(): Promise<void> {
    const { port, inFlight, lanes, deadlineMs = 60_000 } = this.options
    const pending = new Map<bigint, { readonly one: Case; readonly atMs: number }>()
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, { perMessageDeflate: false })
    let lane: number | null = null
    let leaving = false
    const send = (): void => {
      if (this.stopping || leaving) {
        if (pending.size === 0) socket.close()
        return
      }
      const id = this.nextId++
      const one = this.options.next()
      pending.set(id, { one, atMs: performance.now() })
      this.sent++
      if (socket.readyState === WebSocket.OPEN)
        socket.send(message(one.objective, one.inputs, { id, deadlineUs: deadlineMs * 1000 }))
    }
    return new Promise((resolve) => {
      socket.on('error', () => undefined)
      socket.on('open', () => {
        for (let i = 0; i < inFlight; i++) send()
      })
      // As the client library does.
      socket.on('ping', (data: Buffer) => (leaving ||= data.toString('latin1') === goingAway))
      socket.on('message', (data: Buffer) => {
        lane ??= ownerOf(lanes(), (socket as unknown as { _socket: Socket })._socket.localPort!, port)
        const { id, code, outputs } = decodeReply(data)
        const asked = pending.get(id)
        if (asked === undefined) return void this.wrong.push(`request ${id} was answered, and is not in flight`)
        pending.delete(id)
        this.answered[code] = (this.answered[code] ?? 0) + 1
        if (code === 'OK') {
          this.windows[this.window()] = (this.windows[this.window()] ?? 0) + 1
          this.times.push((performance.now() - asked.atMs) * 1000)
          const values = Object.fromEntries(outputs.map((column) => [column.name, fromColumn(column)]))
          try {
            check(asked.one, { code, outputs: plainOutputs(values) })
          } catch (error) {
            this.wrong.push((error as Error).message)
          }
        }
        if (code === 'OK') send()
        else setTimeout(send, refusedMs)
      })
      socket.on('close', () => {
        if (pending.size > 0) this.losses.push({ lane, requests: pending.size })
        resolve()
      })
    })
  }
}
