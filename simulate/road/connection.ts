import { Code, codeNames } from '@millrace/base'
import type { Party, Post, Principal, Socket } from '@millrace/server/in-process'
import { decodeReply, decodeReplyList, httpStatus, type ReplyMessage } from '@millrace/wire'
import { Violation } from '../story'
import type { Request } from './request'
import type { Guest } from './tenants'

/** Whoever asks, over one connection. */
export interface Connection {
  readonly name: string
  readonly guest: Guest
  closed: boolean
  /** When it was; Infinity before. */
  closedUs: number
  /** Sent and not answered. */
  readonly open: Set<Request>
}

/** What is done with an answer: `request` is null where only its id says what it answers. */
export type Answered = (connection: Connection, reply: ReplyMessage, request: Request | null) => void

/** A WebSocket: any number of requests, answered in any order. */
export class SimulatedSocket implements Socket, Connection {
  readonly party: Party
  readonly open = new Set<Request>()
  closed = false
  lastRun = -1
  closedUs = Infinity
  private corked = false

  constructor(
    readonly name: string,
    readonly guest: Guest,
    private readonly answered: Answered,
  ) {
    this.party = { who: guest.who, inFlight: 0, arenaBytes: 0 }
  }

  reply(message: Uint8Array, _item: number, code: number): void {
    if (this.closed) throw new Violation(`${this.name} is answered, and is closed`)
    const reply = decodeReply(message)
    if (reply.code !== codeNames[code]) throw new Violation(`${this.name}: the reply says ${reply.code}, code ${code}`)
    this.answered(this, reply, null)
  }

  replyText(text: string): void {
    throw new Violation(`${this.name} is told a text: ${text}`)
  }

  cork(send: () => void): void {
    if (this.corked) throw new Violation(`${this.name} is corked twice`)
    this.corked = true
    send()
    this.corked = false
  }
}

/** One POST, of one request or of a list. */
export class SimulatedPost implements Post, Connection {
  inFlight = 0
  arenaBytes = 0
  readonly contentType = 'application/x-flatbuffers'
  readonly dryRun = false
  readonly open = new Set<Request>()
  closed = false
  closedUs = Infinity
  private responded = false

  constructor(
    readonly name: string,
    readonly guest: Guest,
    private readonly answered: Answered,
  ) {}

  get who(): Principal {
    return this.guest.who
  }

  /** In the order of the list; one alone where it is none. */
  requests: readonly Request[] = []
  isList = false

  respond(status: string, contentType: string, body: string | Uint8Array): void {
    if (this.closed) throw new Violation(`${this.name} is answered, and is closed`)
    if (this.responded) throw new Violation(`${this.name} is answered twice`)
    this.responded = true
    if (contentType !== this.contentType || typeof body === 'string')
      throw new Violation(`${this.name} is answered with ${contentType}`)
    const replies = this.isList ? decodeReplyList(body).map(decodeReply) : [decodeReply(body)]
    const said = this.isList ? httpStatus[Code.OK] : httpStatus[Code[replies[0]!.code]]
    if (status !== said) throw new Violation(`${this.name}: status ${status}, code ${replies[0]!.code}`)
    if (replies.length !== this.requests.length)
      throw new Violation(`${this.name}: ${replies.length} replies to ${this.requests.length} requests`)
    replies.forEach((reply, i) => this.answered(this, reply, this.requests[i]!))
  }

  cork(send: () => void): void {
    send()
  }
}
