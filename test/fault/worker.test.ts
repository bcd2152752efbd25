import { setImmediate as turn } from 'node:timers/promises'
import { ScoreError, type Client } from '@millrace/client'
import { decodeReply, encodeRequestList } from '@millrace/wire'
import { check, echoCase, plainOutputs } from '../support/load-cases'
import { echoMessage, message, repliesById } from '../support/messages'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { serve, stopServed, until, type Served } from '../support/served'
import { traffic } from '../support/traffic'

/*
 * Workflows that fail in every way that user code can. Whatever it is, each request has its answer, those who have
 * nothing to do with it do not notice, and the server is whole again afterwards.
 */

const random = new Random()
/** One batch to a thread: who shares a thread with a failing batch is then nobody. */
const env = { MILLRACE_POOL_CPU_THREADS: '2', MILLRACE_POOL_CPU_IN_FLIGHT: '1' }

afterAll(stopServed)

describe('user code that fails', () => {
  let served: Served
  let client: Client
  beforeAll(async () => {
    served = await serve(env)
    client = served.client()
  })

  test.each([
    ['throw', 'preprocess'],
    ['throw-late', 'postprocess'],
    ['reject', 'preprocess'],
    ['throw-nothing', 'preprocess'],
  ])('%s: INTERNAL to its batch, and to nobody else', async (how, phase) => {
    const socket = await RawSocket.open(served.server.port)
    // One message is admitted in one turn: the first two share a batch.
    socket.send(
      encodeRequestList([
        message('crash', { how, value: Int32Array.of(1) }, { id: 1n }),
        message('crash', { how: 'none', value: Int32Array.of(1, 2) }, { id: 2n }),
        echoMessage(3n),
      ]),
    )
    const [failed, beside, other] = repliesById(await socket.received(3))
    expect(failed).toMatchObject({ code: 'INTERNAL', outputs: [], route: { workflow: 'crash', version: 1 } })
    expect(failed!.message).toBe(`crash@1 failed in ${phase}; the server's log has the error`)
    expect(beside).toMatchObject({ code: 'INTERNAL' })
    expect(other).toMatchObject({ code: 'OK' })
    await answersAgain(client)
    await socket.close()
    expect((await served.lane()).pools[0]).toMatchObject({ restarts: 0, readyThreads: 2 })
  })

  test('refuse: its request alone', async () => {
    const socket = await RawSocket.open(served.server.port)
    const value = Int32Array.of(1, 2)
    socket.send(
      encodeRequestList([
        message('crash', { how: 'none', value }, { id: 1n }),
        message('crash', { how: 'refuse', value }, { id: 2n }),
        message('crash', { how: 'unheard of', value }, { id: 3n }),
        message('crash', { how: 'none', value }, { id: 4n }),
      ]),
    )
    const replies = repliesById(await socket.received(4))
    expect(replies.map(({ code }) => code)).toEqual(['OK', 'FAILED_PRECONDITION', 'INVALID_ARGUMENT', 'OK'])
    expect(replies[1]!.message).toBe('crash: refused, as asked')
    await socket.close()
  })

  test('exit: UNAVAILABLE at once, the others go on, the thread is replaced', async () => {
    const before = (await served.lane()).pools[0]!.restarts
    const others = traffic(random, client)
    const error = await failure(client, 'exit')
    expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
    expect(error.message).toContain('the thread that ran crash@1 ended before it answered')
    await replaced(served, before + 1)
    expect(await others.stop()).toBeGreaterThan(0)
    await answersAgain(client)
    expect(await metric(served, 'millrace_pool_thread_restarts_total{lane="0",pool="cpu"}')).toBe(before + 1)
  })

  test('throw-outside: its thread is replaced, the others go on', async () => {
    const before = (await served.lane()).pools[0]!.restarts
    const others = traffic(random, client)
    const inputs = { how: 'throw-outside', value: Int32Array.of(1) }
    const answer = await client.score({ objective: 'crash', inputs }).catch((error: ScoreError) => error)
    // The batch may have been answered before the thread ended of it.
    if (answer instanceof ScoreError) expect(answer.code).toBe('UNAVAILABLE')
    else expect(plainOutputs(answer.outputs)).toEqual({ value: [2] })
    await replaced(served, before + 1)
    expect(await others.stop()).toBeGreaterThan(0)
    await answersAgain(client)
  })

  test('every thread at once: what comes meanwhile waits for the new ones', async () => {
    const before = (await served.lane()).pools[0]!.restarts
    // As many rows as a batch takes: two batches, so two threads.
    await Promise.all([failure(client, 'exit', 8), failure(client, 'exit', 8)])
    await answersAgain(client)
    await replaced(served, before + 2)
    expect((await served.admin('GET', '/v2/health/ready')).status).toBe(200)
  })

  test('one after the other, many times: nothing is lost on the way', async () => {
    const before = (await served.lane()).pools[0]!.restarts
    for (let i = 0; i < 4; i++) {
      expect((await failure(client, 'exit')).code).toBe('UNAVAILABLE')
      expect((await failure(client, 'throw')).code).toBe('INTERNAL')
    }
    await replaced(served, before + 4)
    await answersAgain(client)
  })

  test('nothing is left of it', async () => {
    await served.idle()
  })
})

test('two batches to a thread: the one that waits behind a dead one is UNAVAILABLE, everybody else is answered', async () => {
  const served = await serve({ MILLRACE_POOL_CPU_THREADS: '2' })
  const client = served.client()
  const codes: Record<string, number> = {}
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all([
      failure(client, 'exit'),
      ...Array.from({ length: 60 }, async (_, i) => {
        for (let wait = i % 6; wait > 0; wait--) await turn()
        const one = echoCase(random, 3)
        return client.score({ objective: 'echo', inputs: one.inputs, deadlineMs: 60_000 }).then(
          ({ outputs }) => check(one, { code: 'OK', outputs: plainOutputs(outputs) }),
          (error: ScoreError) => {
            codes[error.code] = (codes[error.code] ?? 0) + 1
            expect(error.message).toContain('the thread that ran echo@1 ended before it answered')
          },
        )
      }),
    ])
    expect(answers[0]).toMatchObject({ code: 'UNAVAILABLE' })
  }
  expect(Object.keys(codes).filter((code) => code !== 'UNAVAILABLE')).toEqual([])
  await replaced(served, 3)
  await served.idle()
})

test('loop: DEADLINE_EXCEEDED at the deadline while the other thread serves; a stop does not wait for it', async () => {
  const served = await serve({ ...env, MILLRACE_DRAIN_MS: '40000' })
  const client = served.client()
  const socket = await RawSocket.open(served.server.port)
  const others = traffic(random, client)
  const begun = performance.now()
  socket.send(message('crash', { how: 'loop', value: Int32Array.of(1) }, { deadlineUs: 200_000 }))
  const [reply] = await socket.received(1)
  expect(decodeReply(reply as Buffer)).toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    message: 'deadline: no answer within the 200 ms that the request gave',
  })
  // Not before it.
  expect(performance.now() - begun).toBeGreaterThan(199)
  expect(await others.stop()).toBeGreaterThan(0)
  await answersAgain(client)
  const lane = await served.lane()
  expect(lane).toMatchObject({ requestsInFlight: 0, arena: { usedSlabs: 1 }, pools: [{ batchesInFlight: 1 }] })
  // It would be 40 seconds, past this test's time, if what nobody waits for any more held it up.
  await served.server.stop()
  expect(await socket.closed).toBe(1001)
}, 30_000)

/** The error that a failing request ends with, long before its deadline. */
async function failure(client: Client, how: string, rows = 1): Promise<ScoreError> {
  const inputs = { how, value: new Int32Array(rows) }
  const answer = await client
    .score({ objective: 'crash', inputs, deadlineMs: 120_000 })
    .catch((error: ScoreError) => error)
  if (answer instanceof ScoreError) return answer
  throw new Error(`${how} was answered`)
}

async function answersAgain(client: Client): Promise<void> {
  const answers = await client.scoreMany(
    Array.from({ length: 8 }, (_, i) => ({
      objective: 'crash',
      inputs: { how: 'none', value: Int32Array.of(i) },
      deadlineMs: 60_000,
    })),
  )
  answers.forEach((answer, i) => {
    if (answer instanceof ScoreError) throw answer
    expect(plainOutputs(answer.outputs)).toEqual({ value: [i + 1] })
  })
}

async function replaced(served: Served, restarts: number): Promise<void> {
  await until('the threads are replaced', async () => {
    const pool = (await served.lane()).pools[0]!
    return (pool.restarts === restarts && pool.readyThreads === pool.threads) || JSON.stringify(pool)
  })
}

async function metric(served: Served, series: string): Promise<number> {
  const page = (await served.admin('GET', '/metrics')).body.toString('utf8')
  return Number(
    page
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.split(' ')[1],
  )
}
