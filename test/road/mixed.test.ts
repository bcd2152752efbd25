import { ScoreError, toColumn, type Client, type ScoreAnswer } from '@millrace/client'
import { decodeReply, encodeRequest, encodeRequestList } from '@millrace/wire'
import { columnValues } from '@millrace/server'
import {
  check,
  crashCase,
  echoCase,
  imageCase,
  mlpCases,
  plainJson,
  plainOutputs,
  slowCase,
  type Case,
  type Outcome,
} from '../support/load-cases'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { serve, stopServed, type Served } from '../support/served'

/*
 * Everything at once, through every door: whatever shares a batch, a slab, a socket or a list, each answer is that
 * of its own request, and each request has one.
 */

const requests = 3_000

afterAll(stopServed)

test('every answer belongs to its request, through every door at once', async () => {
  const random = new Random()
  const served = await serve({ MILLRACE_BATCH_ROWS_MAX: '64', MILLRACE_POOL_CPU_THREADS: '2' })
  const networks = await mlpCases(random, [1, 1, 2, 3, 5, 8, 13, 21, 34, 64, 65, 130])
  const next = (): Case => {
    const kind = random.next()
    if (kind < 0.5) return echoCase(random, random.pick([1, 1, 2, 3, random.whole(1, 40), random.whole(60, 140)]))
    if (kind < 0.75) return random.pick(networks)
    if (kind < 0.85) return crashCase(random, 'none', random.whole(1, 20))
    if (kind < 0.95) return crashCase(random, 'refuse', random.whole(1, 8))
    if (kind < 0.99) return slowCase(random, random.whole(1, 20), 2)
    return imageCase(random, random.whole(1, 2))
  }
  const socket = await RawSocket.open(served.server.port)
  const texts = await RawSocket.open(served.server.port)
  const doors: Door[] = [
    clientDoor(served.client({ sockets: 2 })),
    clientDoor(served.client({ transport: 'http', sockets: 16 })),
    jsonDoor(served),
    listMessages(socket),
    textMessages(texts),
  ]

  const sent: Record<string, number> = {}
  const counted = (one: Case): Case => {
    const key = `${one.objective} ${one.expected.code}`
    sent[key] = (sent[key] ?? 0) + 1
    return one
  }
  let left = requests
  const drive = async (door: Door): Promise<void> => {
    while (left > 0) {
      const cases = Array.from({ length: random.pick([1, 1, 1, 2, 7]) }, () => counted(next()))
      left -= cases.length
      const outcomes = await door(cases)
      expect(outcomes).toHaveLength(cases.length)
      cases.forEach((one, i) => check(one, outcomes[i]!))
    }
  }
  await Promise.all(doors.flatMap((door) => Array.from({ length: 6 }, () => drive(door))))
  await served.idle()

  // What the lane counted is what was sent: nothing was answered twice, nothing was lost.
  const { requests: answered, arena, requestsInFlight } = await served.lane()
  expect(Object.fromEntries(answered.map((one) => [`${one.objective} ${one.code}`, one.count]))).toEqual(sent)
  expect({ requestsInFlight, slabs: arena.usedSlabs, bytes: arena.usedBytes }).toEqual({
    requestsInFlight: 0,
    slabs: 0,
    bytes: 0,
  })
  // And every message on these two was asked for, once.
  for (const one of [socket, texts]) {
    const ids = one.messages.map((message) =>
      Number(typeof message === 'string' ? (JSON.parse(message) as { id: number }).id : decodeReply(message).id),
    )
    expect(ids.sort((a, b) => a - b)).toEqual(ids.map((_, i) => i + 1))
    await one.close()
  }
})

/** Sends cases together and resolves with what came back, in their order. */
type Door = (cases: readonly Case[]) => Promise<Outcome[]>

function clientDoor(client: Client): Door {
  const outcome = (answer: ScoreAnswer | ScoreError): Outcome =>
    answer instanceof ScoreError
      ? { code: answer.code, outputs: {} }
      : { code: 'OK', outputs: plainOutputs(answer.outputs) }
  return async (cases) => {
    const requests = cases.map(({ objective, inputs }) => ({ objective, inputs, deadlineMs: 30_000 }))
    if (requests.length > 1) return (await client.scoreMany(requests)).map(outcome)
    return [outcome(await client.score(requests[0]!).catch((error: ScoreError) => error))]
  }
}

interface JsonReply {
  readonly id?: number
  readonly code: string
  readonly outputs?: Readonly<Record<string, unknown>>
}

const jsonOutcome = ({ objective }: Case, { code, outputs }: JsonReply): Outcome => ({
  code,
  outputs: plainJson(objective, outputs ?? {}),
})

function jsonDoor({ json }: Served): Door {
  return async (cases) => {
    const bodies = cases.map((one) => ({ objective: one.objective, inputs: one.json, deadline_ms: 30_000 }))
    if (bodies.length > 1) {
      const { status, body } = await json(bodies)
      expect(status).toBe(200)
      return cases.map((one, i) => jsonOutcome(one, (body as JsonReply[])[i]!))
    }
    return [jsonOutcome(cases[0]!, (await json(bodies[0])).body as JsonReply)]
  }
}

/** A message that is a list; its replies are messages of their own. */
function listMessages(socket: RawSocket): Door {
  const inbox = new Inbox(socket, (message) => Number(decodeReply(message as Buffer).id))
  return async (cases) => {
    const ids = cases.map(() => inbox.nextId())
    const messages = cases.map(({ objective, inputs }, i) =>
      encodeRequest({
        id: BigInt(ids[i]!),
        objective,
        inputs: Object.entries(inputs).map(([name, value]) => toColumn(name, value)),
        deadlineUs: 30_000_000,
      }),
    )
    socket.send(messages.length > 1 ? encodeRequestList(messages) : messages[0]!)
    const replies = await inbox.replies(ids)
    return replies.map((message) => {
      const { code, outputs } = decodeReply(message as Buffer)
      const values = Object.entries(columnValues(outputs)).map(([name, column]) => [
        name,
        'spans' in column ? column.toArray() : column,
      ])
      return { code, outputs: plainOutputs(Object.fromEntries(values) as Parameters<typeof plainOutputs>[0]) }
    })
  }
}

/** A text message, one request or a list; its replies are text messages of their own. */
function textMessages(socket: RawSocket): Door {
  const inbox = new Inbox(socket, (message) => (JSON.parse(message as string) as { id: number }).id)
  return async (cases) => {
    const ids = cases.map(() => inbox.nextId())
    const bodies = cases.map((one, i) => ({
      id: ids[i],
      objective: one.objective,
      inputs: one.json,
      deadline_ms: 30_000,
    }))
    socket.send(JSON.stringify(bodies.length > 1 ? bodies : bodies[0]))
    const replies = await inbox.replies(ids)
    return cases.map((one, i) => jsonOutcome(one, JSON.parse(replies[i] as string) as JsonReply))
  }
}

/** Finds replies by their ids. */
class Inbox {
  private ids = 0
  private read = 0
  private readonly byId = new Map<number, Buffer | string>()

  constructor(
    private readonly socket: RawSocket,
    private readonly idOf: (message: Buffer | string) => number,
  ) {}

  nextId(): number {
    return ++this.ids
  }

  async replies(ids: readonly number[]): Promise<(Buffer | string)[]> {
    while (!ids.every((id) => this.byId.has(id))) {
      const { messages } = this.socket
      if (this.read === messages.length) await this.socket.received(messages.length + 1)
      for (; this.read < messages.length; this.read++)
        this.byId.set(this.idOf(messages[this.read]!), messages[this.read]!)
    }
    return ids.map((id) => this.byId.get(id)!)
  }
}
