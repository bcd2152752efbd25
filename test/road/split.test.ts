import { toColumn } from '@millrace/client'
import { decodeReply, encodeRequest, encodeRequestList, type ReplyMessage } from '@millrace/wire'
import { check, crashCase, echoCase, imageCase, mlpCases, plainOutputs, type Case } from '../support/load-cases'
import { message, repliesById } from '../support/messages'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { serve, stopServed, until, type Served } from '../support/served'

/* Requests that are larger than a batch, and those that are larger than what there is room for. */

const random = new Random()
/** One batch at a time: while one runs, all else waits. */
const oneAtATime = { MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_POOL_CPU_IN_FLIGHT: '1' }

afterAll(stopServed)

test('a request with more rows than a batch is answered whole, as if it had never been split', async () => {
  const whole = await serve({ ...oneAtATime })
  const split = await serve({ MILLRACE_POOL_CPU_THREADS: '2', MILLRACE_BATCH_ROWS_MAX: '7' })
  const cases: Case[] = [
    ...(await mlpCases(random, [1, 6, 7, 8, 13, 14, 15, 63, 200])),
    ...[1, 6, 7, 8, 14, 50, 333].map((rows) => echoCase(random, rows)),
    ...[7, 8, 40].map((rows) => crashCase(random, 'none', rows)),
    // Refused in every part, answered once.
    crashCase(random, 'refuse', 30),
    imageCase(random, 9),
  ]
  const clients = [whole.client(), split.client(), split.client({ transport: 'http' })]
  for (const one of [...cases, ...cases.reverse()]) {
    const answers = await Promise.all(
      clients.map((client) =>
        client.score({ objective: one.objective, inputs: one.inputs }).then(
          ({ outputs }) => ({ code: 'OK', outputs: plainOutputs(outputs) }),
          (error: { code: string }) => ({ code: error.code, outputs: {} }),
        ),
      ),
    )
    for (const answer of answers) check(one, answer)
  }
  const { batchRows } = await split.lane()
  const rows = batchRows.find(({ workflow }) => workflow === 'echo')!.histogram
  expect(rows.sum).toBe(2 * 2 * (1 + 6 + 7 + 8 + 14 + 50 + 333))
  // No batch of more than seven rows ran.
  expect(rows.counts.slice(rows.bounds.findIndex((bound) => bound >= 8) + 1).every((n) => n === 0)).toBe(true)
  await Promise.all([whole.idle(), split.idle()])
})

test('strings that fill a slab are split by their bytes; a row that no slab takes is refused', async () => {
  const served = await serve({
    MILLRACE_ARENA_BYTES: '4MiB',
    MILLRACE_SLAB_BYTES_MAX: '1MiB',
    MILLRACE_REQUEST_BYTES_MAX: '1MiB',
  })
  const client = served.client()
  const echo = (text: readonly string[]) =>
    client.score({
      objective: 'echo',
      inputs: {
        id: BigUint64Array.of(9n),
        tag: 't',
        key: BigUint64Array.from(text, (_, i) => BigInt(i)),
        text,
      },
    })
  for (const lengths of [
    [100_000, 100_000, 100_000, 100_000, 100_000, 100_000],
    [400_000, 1, 400_000],
    [0, 480_000],
  ]) {
    const text = lengths.map((length, i) => String.fromCharCode(97 + i).repeat(length))
    const { outputs } = await echo(text)
    expect(outputs['key']).toEqual(BigUint64Array.from(text, (_, i) => BigInt(i)))
    expect((outputs['text'] as string[]).every((one, i) => one === `t/${text[i]}`)).toBe(true)
    expect(outputs['text']).toHaveLength(text.length)
  }
  await expect(echo(['small', 'x'.repeat(700_000)])).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringMatching(/inputs: row \d has \d+ bytes of strings.*MILLRACE_SLAB_BYTES_MAX/) as string,
  })
  await served.idle()
})

test('more rows than a request may have are refused, with the variable', async () => {
  const served = await serve({ MILLRACE_REQUEST_ROWS_MAX: '100' })
  const client = served.client()
  const ask = (rows: number) => client.score({ objective: 'mlp', inputs: { features: features(rows) } })
  expect((await ask(100)).outputs).toBeDefined()
  await expect(ask(101)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: 'INVALID_ARGUMENT: inputs: 101 rows, at most 100 (MILLRACE_REQUEST_ROWS_MAX)',
  })
  await served.idle()
})

describe('what there is no room for is refused at once, and there is room again afterwards', () => {
  test.each([
    [
      'rows that wait in a queue',
      'MILLRACE_QUEUE_ROWS_MAX',
      { MILLRACE_QUEUE_ROWS_MAX: '64', MILLRACE_REQUEST_ROWS_MAX: '64', MILLRACE_BATCH_ROWS_MAX: '16' },
      { requests: 6, accepted: 4 },
    ],
    [
      'requests',
      'MILLRACE_REQUESTS_IN_FLIGHT_MAX',
      { MILLRACE_REQUESTS_IN_FLIGHT_MAX: '4' },
      { requests: 6, accepted: 3 },
    ],
    [
      'slabs, small ones of one connection',
      'MILLRACE_ARENA_BYTES',
      { MILLRACE_ARENA_BYTES: '2MiB', MILLRACE_SLAB_BYTES_MAX: '1MiB', MILLRACE_REQUEST_BYTES_MAX: '1MiB' },
      // It leaves as much to others: of 512 slabs of 4 KiB one is the batch that runs.
      { requests: 600, accepted: 256 },
    ],
  ])('%s: %s', async (_, variable, env, { requests, accepted }) => {
    const served = await serve({ ...oneAtATime, ...env })
    const socket = await RawSocket.open(served.server.port)
    for (let round = 0; round < 2; round++) {
      const before = socket.messages.length
      await block(served, socket)
      const rows = Array.from({ length: requests }, (__, i) => slow(BigInt(i + 1), 16))
      socket.send(encodeRequestList(rows))
      const refused = repliesById((await socket.received(before + requests - accepted)).slice(before))
      // They come while the first still runs: it is not among them.
      expect(refused.map(({ id }) => id)).toEqual(range(accepted + 1, requests))
      for (const reply of refused) {
        expect(reply.code).toBe('RESOURCE_EXHAUSTED')
        expect(reply.message).toContain(variable)
      }
      const all = repliesById((await socket.received(before + requests + 1)).slice(before))
      expect(all.filter(({ code }) => code === 'OK').map(({ id }) => id)).toEqual([0n, ...range(1, accepted)])
      await served.idle()
    }
  })

  test('slabs, large ones: a request that only some of its parts have room for is refused, once', async () => {
    const served = await serve({
      ...oneAtATime,
      MILLRACE_ARENA_BYTES: '8MiB',
      MILLRACE_SLAB_BYTES_MAX: '4MiB',
      MILLRACE_REQUEST_BYTES_MAX: '4MiB',
    })
    const socket = await RawSocket.open(served.server.port)
    const cases = [1, 2, 6, 1, 2].map((rows) => imageCase(random, rows))
    const messages = cases.map(({ objective, inputs }, i) =>
      encodeRequest({
        id: BigInt(i + 1),
        objective,
        inputs: Object.entries(inputs).map(([name, value]) => toColumn(name, value)),
      }),
    )
    await block(served, socket)
    // One slab takes four images, and the small one of the batch that runs leaves room for one. So the third request
    // gets no room, and what comes behind it neither.
    for (const one of messages) socket.send(one)
    const replies = repliesById(await socket.received(1 + messages.length))
    const codes = replies.slice(1).map(({ code }) => code)
    expect(codes.slice(0, 3)).toEqual(['OK', 'OK', 'RESOURCE_EXHAUSTED'])
    expect(replies[3]!.message).toContain('MILLRACE_ARENA_BYTES')
    replies.slice(1).forEach((reply, i) => {
      if (reply.code === 'OK') check(cases[i]!, outcomeOf(reply))
    })
    await served.idle()
    for (const [i, one] of messages.entries()) {
      const count = socket.messages.length + 1
      socket.send(one)
      const reply = decodeReply((await socket.received(count))[count - 1] as Buffer)
      check(cases[i]!, outcomeOf(reply))
    }
    await served.idle()
  })
})

function outcomeOf({ code, outputs }: ReplyMessage): { code: string; outputs: Record<string, number[]> } {
  const mean = outputs[0]?.data ?? new Uint8Array(0)
  const values = new Float32Array(new Uint8Array(mean).buffer)
  return { code, outputs: { mean: [...values] } }
}

function slow(id: bigint, rows: number, ms = 0): Uint8Array {
  return message('slow', { ms: new Float32Array(rows).fill(ms) }, { id, deadlineUs: 50_000_000 })
}

/** Keeps the only thread busy for a while, with a request whose id is 0; resolves when it runs. */
async function block(served: Served, socket: RawSocket): Promise<void> {
  socket.send(slow(0n, 1, 700))
  await until('the thread is busy', async () => {
    const { batchesInFlight } = (await served.lane()).pools[0]!
    return batchesInFlight === 1 || String(batchesInFlight)
  })
}

function features(rows: number): { dtype: 'f32'; values: Float32Array; shape: number[] } {
  return { dtype: 'f32', values: new Float32Array(rows * 64), shape: [64] }
}

function range(from: number, to: number): bigint[] {
  return Array.from({ length: to - from + 1 }, (_, i) => BigInt(from + i))
}
