import { strict as assert } from 'node:assert'
import { decodeReply, decodeReplyList, encodeReply, encodeRequest, type ReplyMessage } from '@millrace/wire'
import { anatomyOf, type Anatomy } from './anatomy'
import { Neighbourhood, ones, smallNumbers } from './place'
import type { Random } from './random'
import { CaseError, Cases, count, messageBytesMax, type Outcomes, type Target } from './target'
import { Ear, Letter, World } from './world'

const flatBuffers = 'application/x-flatbuffers'

/** How a message comes: on a WebSocket, or as the body of a POST to score or to resolve. */
type Way = 'socket' | 'score' | 'resolve'

interface Asked {
  readonly n: number
  readonly bytes: Uint8Array
  readonly isList: boolean
  readonly isWhole: boolean
  readonly way: Way
  readonly shift: number
}

/**
 * The whole road, in two lanes: other memory around each message, other requests before it in its batch, other bytes in
 * the slabs. Each message is answered alike in both, as often as it asks; what is answered with OK is what was sent.
 */
export class RoadTarget implements Target {
  private readonly cases: Cases

  private constructor(private readonly sides: readonly [Side, Side]) {
    this.cases = new Cases(sides[0].world.signatures, decisionOf(sides[0].world))
  }

  static async open(): Promise<RoadTarget> {
    const sides = [new Side(await World.open(), ones, 0xa5), new Side(await World.open(), smallNumbers, 0x04)] as const
    return new RoadTarget(sides)
  }

  async run(seed: number, block: number, outcomes: Outcomes): Promise<void> {
    const asked: Asked[] = []
    for (const { n, bytes, isList, isWhole, random } of this.cases.of(seed, block))
      asked.push({ n, bytes: bytes.slice(), isList, isWhole, way: wayOf(random), shift: 4 * random.below(4) })
    await this.try(asked, outcomes)
  }

  async tryFile(bytes: Uint8Array): Promise<void> {
    const ways: readonly Way[] = ['socket', 'score', 'resolve']
    const asked = ways.map((way, n) => ({ n, bytes, isList: false, isWhole: false, way, shift: 0 }))
    await this.try(asked, new Map())
  }

  close(): void {
    for (const { world } of this.sides) world.close()
  }

  private async try(asked: readonly Asked[], outcomes: Outcomes): Promise<void> {
    const [here, there] = this.sides
    // The last ones first: nobody has the same neighbours in his batch.
    const one = await here.answers(asked)
    const other = (await there.answers(asked.toReversed())).reverse()
    asked.forEach((request, i) => {
      try {
        count(outcomes, outcomeOf(request, one[i]!, other[i]!))
      } catch (error) {
        throw new CaseError(request.n, request.bytes, error)
      }
    })
  }
}

function wayOf(random: Random): Way {
  return random.once(4) ? random.pick(['score', 'resolve']) : 'socket'
}

/** One of the two lanes. */
class Side {
  private readonly around: Neighbourhood

  constructor(
    readonly world: World,
    pattern: Uint8Array,
    private readonly soil: number,
  ) {
    this.around = new Neighbourhood(messageBytesMax, pattern)
  }

  /** By request: what came back, in any order. */
  async answers(asked: readonly Asked[]): Promise<Uint8Array[][]> {
    const { world, around } = this
    const answers: (() => Uint8Array[])[] = []
    world.soil(this.soil)
    for (const request of asked) {
      const placed = around.place(request.bytes, request.shift)
      try {
        answers.push(ask(world, request.way, placed.buffer, placed.base, placed.length))
      } catch (error) {
        throw new CaseError(request.n, request.bytes, error)
      }
      around.restore(placed)
    }
    await world.settled()
    return answers.map((take, i) => {
      try {
        return take()
      } catch (error) {
        throw new CaseError(asked[i]!.n, asked[i]!.bytes, error)
      }
    })
  }
}

/** Returns what gathers the replies once all are there. */
function ask(world: World, way: Way, buffer: ArrayBuffer, base: number, length: number): () => Uint8Array[] {
  if (way === 'socket') {
    const ear = new Ear()
    world.door.message(ear, buffer, base, length)
    return () => ear.replies
  }
  const letter = new Letter(flatBuffers, way === 'resolve')
  world.door.post(letter, buffer, base, length)
  return () => {
    assert.equal(letter.answers.length, 1, 'a POST has one answer')
    const { body } = letter.answers[0]!
    return isMarked(body, 'MRPL') ? decodeReplyList(body) : [body]
  }
}

function isMarked(message: Uint8Array, identifier: string): boolean {
  for (let i = 0; i < 4; i++) if (message[4 + i] !== identifier.charCodeAt(i)) return false
  return true
}

function outcomeOf(asked: Asked, one: readonly Uint8Array[], other: readonly Uint8Array[]): string {
  assert.equal(one.length, other.length, 'as many answers in both lanes')
  const replies = one.map((reply) => decodeReply(reply))
  // To the byte, which all but those are that a clock had a part in, or an order.
  if (!one.every((reply, i) => Buffer.compare(reply, other[i]!) === 0))
    compare(
      replies,
      other.map((reply) => decodeReply(reply)),
    )
  for (const { code, message } of replies) if (ours.has(code)) throw new Error(`${code}: ${message}`)
  if (isMarked(asked.bytes, 'MRQL')) return `list of ${replies.length > 0 ? replies[0]!.code : 'none'}`
  assert.equal(replies.length, 1, 'one answer')
  const [reply] = replies as [ReplyMessage]
  if (reply.code === 'OK') checkEcho(reply, anatomyOf(asked.bytes))
  // What is refused of right requests is an override that the rules do not allow.
  if (asked.isWhole)
    assert(reply.code === 'OK' || reply.code === 'PERMISSION_DENIED', `${reply.code}: ${reply.message}`)
  return reply.code === 'OK' && reply.resolved !== undefined ? 'resolved' : reply.code
}

/** What is no fault of the message. */
const ours: ReadonlySet<string> = new Set(['INTERNAL', 'RESOURCE_EXHAUSTED', 'UNAVAILABLE'])

function compare(replies: readonly ReplyMessage[], others: readonly ReplyMessage[]): void {
  const late = [...replies, ...others].some(({ code }) => code === 'DEADLINE_EXCEEDED')
  if (!late)
    assert.deepEqual(others.map(timeless).sort(), replies.map(timeless).sort(), 'the same answers in both lanes')
}

/** All of a reply but what a clock had a part in. */
function timeless(reply: ReplyMessage): string {
  const { resolved } = reply
  const plain = { ...reply, timings: null, resolved: resolved && { ...resolved, decision: null } }
  return Buffer.from(encodeReply(plain)).toString('latin1')
}

/** What workflows that echo must answer to a request, read apart from the road. */
function checkEcho({ id, outputs, resolved }: ReplyMessage, asked: Anatomy): void {
  assert.equal(id, asked.id)
  if (resolved !== undefined) return assert.equal(outputs.length, 0)
  assert(outputs.length > 0)
  const attribute = (name: string): Anatomy['context'][number] | undefined =>
    asked.context.findLast((one) => one.name === name)
  for (const { name, data, offsets } of outputs) {
    const bytes = Buffer.from(data)
    const column = asked.columns.find((one) => one.name === name)
    if (column !== undefined) {
      assert(bytes.equals(column.data), `${name} is not what was sent`)
      if (offsets !== undefined) assert.deepEqual([...offsets], column.offsets)
    } else if (name === 'country') assert(bytes.equals(attribute(name)?.text ?? Buffer.from('none')), name)
    else if (name === 'traffic') assert(bytes.equals(attribute(name)?.text ?? Buffer.from('real')), name)
    else if (name === 'age') assert.deepEqual(bytes.readDoubleLE(), attribute(name)?.number ?? -1)
    else if (name === 'kids') assert.equal(bytes[0], Number((attribute(name)?.number ?? 1) !== 0))
    else throw new Error(`${name} was not asked for`)
  }
}

/** What a resolve signs. */
function decisionOf(world: World): Uint8Array {
  const ear = new Ear()
  const message = new Uint8Array(encodeRequest({ objective: 'numbers', subject: 'account', dryRun: true }))
  world.door.message(ear, message.buffer, 0, message.length)
  return decodeReply(ear.replies[0]!).resolved!.decision!
}
