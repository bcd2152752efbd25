import { Code, Refusal } from '@millrace/base'
import { encodeReplyList, httpStatus, ListView, parseJson, verifyList } from '@millrace/wire'
import type { Caller } from './caller'
import type { Config } from './config'
import { encodedRefusal, serveJson } from './json-twin'
import { mayNot } from './identity'
import { Right, type Party } from './principal'
import { tooManyItems } from './refusals'
import type { Road } from './road'
import type { RulesFeed } from './rules-feed'
import { paths, type Door, type Post, type Responder, type Socket } from './transport'

const flatBuffers = 'application/x-flatbuffers'
const json = 'application/json'

/** From bodies and messages, in both of their forms, one request or a list, onto the road. */
export class RoadDoor implements Door {
  private readonly list = new ListView()

  constructor(
    private readonly road: Road,
    private readonly rules: RulesFeed,
    private readonly limits: Pick<Config, 'requestBytesMax' | 'listItemsMax'>,
  ) {}

  post(post: Post, body: ArrayBufferLike, base: number, length: number): void {
    const { contentType } = post
    if (contentType.startsWith(flatBuffers)) this.postBinary(post, body, base, length)
    else if (contentType.startsWith(json)) this.postJson(post, textOf(body, base, length))
    else {
      const message = `content-type: is '${contentType.slice(0, 100)}', must be ${json} or ${flatBuffers}`
      this.refuseJson(post, '415 Unsupported Media Type', Code.INVALID_ARGUMENT, message)
    }
  }

  message(socket: Socket, body: ArrayBufferLike, base: number, length: number): void {
    if (this.road.serve(socket, 0, body, base, length, false)) return
    const { list } = this
    if (!verifyList(body, base, length, this.limits.listItemsMax, list)) {
      this.road.answers.count(-1, Code.INVALID_ARGUMENT)
      return socket.reply(encodedRefusal(Code.INVALID_ARGUMENT, this.listFault()), 0, Code.INVALID_ARGUMENT)
    }
    this.serveItems(socket, body, base, false)
  }

  text(socket: Socket, text: string): void {
    const answer = (reply: unknown): void => socket.replyText(JSON.stringify(reply))
    try {
      const parsed = parseRequests(text, this.limits.listItemsMax)
      if (isSubscription(parsed)) return this.subscribe(socket)
      const values = Array.isArray(parsed) ? parsed : [parsed]
      values.forEach((value, i) => serveJson(this.road, socket, i, value, false, answer))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.road.answers.count(-1, error.code)
      answer({ code: error.name, message: error.message })
    }
  }

  other(responder: Responder, method: string, path: string): void {
    const known = path === paths.score || path === paths.resolve ? `use POST, not ${method.toUpperCase()}` : known404
    const status = known === known404 ? '404 Not Found' : '405 Method Not Allowed'
    this.refuseJson(responder, status, Code.NOT_FOUND, `${path.slice(0, 100)}: ${known}`)
  }

  tooLarge(responder: Responder): void {
    const message = `the body is larger than ${this.limits.requestBytesMax} bytes (MILLRACE_REQUEST_BYTES_MAX)`
    this.refuseJson(responder, '413 Payload Too Large', Code.INVALID_ARGUMENT, message)
  }

  foreign(responder: Responder, origin: string): void {
    const message = `origin: pages of ${origin.slice(0, 100)} may not ask this server (MILLRACE_ALLOWED_ORIGINS)`
    this.refuseJson(responder, '403 Forbidden', Code.PERMISSION_DENIED, message)
  }

  stranger(responder: Responder | Post, { code, message }: Refusal): void {
    const status = httpStatus[code]!
    const binary = 'contentType' in responder && responder.contentType.startsWith(flatBuffers)
    if (!binary) return this.refuseJson(responder, status, code, message)
    this.road.answers.count(-1, code)
    responder.respond(status, flatBuffers, encodedRefusal(code, message))
  }

  /** What is wrong with a list. */
  private listFault(): string {
    const { said, fault } = this.list
    const { listItemsMax } = this.limits
    return said > listItemsMax ? tooManyItems(said, listItemsMax) : fault
  }

  private subscribe(socket: Socket): void {
    const { who } = socket.party
    if (!who.revoked && (who.may & Right.rules) !== 0) return this.rules.subscribe(socket)
    const { code, message } = mayNot(who, 'rules')
    throw new Refusal(code, message)
  }

  private postBinary(post: Post, body: ArrayBufferLike, base: number, length: number): void {
    if (this.road.serve(new HttpCaller(post), 0, body, base, length, post.dryRun)) return
    const { list } = this
    if (!verifyList(body, base, length, this.limits.listItemsMax, list)) {
      this.road.answers.count(-1, Code.INVALID_ARGUMENT)
      const refusal = encodedRefusal(Code.INVALID_ARGUMENT, this.listFault())
      return post.respond(httpStatus[Code.INVALID_ARGUMENT]!, flatBuffers, refusal)
    }
    const caller = new ListCaller<Uint8Array>(post, list.count, (replies) =>
      post.respond(httpStatus[Code.OK]!, flatBuffers, encodeReplyList(replies)),
    )
    this.serveItems(caller, body, base, post.dryRun)
  }

  private serveItems(caller: Caller, body: ArrayBufferLike, base: number, dryRun: boolean): void {
    const { list, road } = this
    for (let i = 0; i < list.count; i++) {
      if (road.serve(caller, i, body, base + list.begin[i]!, list.length[i]!, dryRun)) continue
      road.answers.count(-1, Code.INVALID_ARGUMENT)
      const refusal = encodedRefusal(Code.INVALID_ARGUMENT, `items[${i}].request: a list inside a list`)
      caller.reply(refusal, i, Code.INVALID_ARGUMENT)
    }
  }

  private postJson(post: Post, text: string): void {
    let parsed: unknown
    try {
      parsed = parseRequests(text, this.limits.listItemsMax)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return this.refuseJson(post, httpStatus[error.code]!, error.code, error.message)
    }
    if (!Array.isArray(parsed)) {
      const caller = new HttpCaller(post)
      return serveJson(this.road, caller, 0, parsed, post.dryRun, (reply, _, code) =>
        post.respond(httpStatus[code]!, json, JSON.stringify(reply)),
      )
    }
    const caller = new ListCaller<unknown>(post, parsed.length, (replies) =>
      post.respond(httpStatus[Code.OK]!, json, JSON.stringify(replies)),
    )
    parsed.forEach((value, i) =>
      serveJson(this.road, caller, i, value, post.dryRun, (reply, item) => caller.take(reply, item)),
    )
  }

  private refuseJson(responder: Responder, status: string, code: Code, message: string): void {
    this.road.answers.count(-1, code)
    responder.respond(status, json, JSON.stringify({ code: new Refusal(code, message).name, message }))
  }
}

const known404 = `there are POST ${paths.score}, POST ${paths.resolve} and GET ${paths.stream} (WebSocket)`

/** One request, one response. */
class HttpCaller implements Caller {
  lastRun = -1

  constructor(private readonly responder: Responder) {}

  get party(): Party {
    return this.responder
  }

  get closed(): boolean {
    return this.responder.closed
  }

  reply(message: Uint8Array, _item: number, code: number): void {
    this.responder.respond(httpStatus[code]!, flatBuffers, message)
  }

  cork(send: () => void): void {
    this.responder.cork(send)
  }
}

/** Gathers the replies of a list, in its order, and answers when the last one is there. */
class ListCaller<T> implements Caller {
  lastRun = -1
  private readonly replies: T[]
  private missing: number

  constructor(
    private readonly responder: Responder,
    count: number,
    private readonly done: (replies: readonly T[]) => void,
  ) {
    this.replies = new Array<T>(count)
    this.missing = count
    if (count === 0) done([])
  }

  get party(): Party {
    return this.responder
  }

  get closed(): boolean {
    return this.responder.closed
  }

  reply(message: Uint8Array, item: number): void {
    this.take(new Uint8Array(message) as T, item)
  }

  take(reply: T, item: number): void {
    this.replies[item] = reply
    if (--this.missing === 0) this.done(this.replies)
  }

  cork(send: () => void): void {
    this.responder.cork(send)
  }
}

/** One request or a list of them; throws a Refusal when it is neither JSON nor a list within its limit. */
function parseRequests(text: string, itemsMax: number): unknown {
  const parsed = parseJson(text)
  if (Array.isArray(parsed) && parsed.length > itemsMax)
    throw new Refusal(Code.INVALID_ARGUMENT, tooManyItems(parsed.length, itemsMax))
  return parsed
}

/** `{"subscribe": "rules"}` */
function isSubscription(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (value as { subscribe?: unknown }).subscribe === 'rules'
}

function textOf(body: ArrayBufferLike, base: number, length: number): string {
  return Buffer.from(body as ArrayBuffer, base, length).toString('utf8')
}
