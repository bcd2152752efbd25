import { encodeRequestList, type ReplyMessage } from '@millrace/wire'
import { Gate, gatedRepository } from '../support/gate'
import { repliesById } from '../support/messages'
import { RawSocket } from '../support/raw-socket'
import { serve, stopServed, until, type Served } from '../support/served'

/*
 * Whom nobody waits for any more is not scored, wherever he waits: in the queue, or at the door of a thread that is at
 * work. The thread works on a batch until the test says so, so nothing here depends on how fast anything is.
 */

let served: Served
let gate: Gate
let socket: RawSocket

beforeAll(async () => {
  served = await serve({ MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_POOL_CPU_IN_FLIGHT: '2' }, gatedRepository)
})
afterAll(stopServed)

beforeEach(async () => {
  gate = new Gate()
  socket = await RawSocket.open(served.server.port)
  // The thread is at work.
  socket.send(gate.request(1, [1], { open: false }))
  await gate.begun(1)
})
afterEach(async () => {
  gate.open()
  await socket.close()
  await served.idle()
  gate.remove()
})

const soon = { deadlineUs: 1000 }

/** The next batch of the thread, which waits at its door. */
async function atTheDoor(...requests: Uint8Array[]): Promise<void> {
  socket.send(encodeRequestList(requests))
  await until('the thread has two batches', async () => {
    const { batchesInFlight } = (await served.lane()).pools[0]!
    return batchesInFlight === 2 || `${batchesInFlight}`
  })
}

async function replies(count: number): Promise<ReplyMessage[]> {
  return repliesById(await socket.received(count))
}

function codes(all: readonly ReplyMessage[]): Record<string, string> {
  return Object.fromEntries(all.map(({ id, code }) => [String(id), code]))
}

function rowsOf(reply: ReplyMessage): number[] {
  const { data } = reply.outputs[0]!
  return Array.from(new Int32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)))
}

test('a deadline that is over in the queue', async () => {
  await atTheDoor(gate.request(2, [20]))
  socket.send(encodeRequestList([gate.request(3, [30, 31], soon), gate.request(4, [40]), gate.request(5, [50], soon)]))
  const early = await replies(2)
  expect(codes(early)).toEqual({ 3: 'DEADLINE_EXCEEDED', 5: 'DEADLINE_EXCEEDED' })
  expect(early[0]!.message).toBe('deadline: no answer within the 1 ms that the request gave')
  gate.open()
  const all = await replies(5)
  expect(codes(all)).toMatchObject({ 1: 'OK', 2: 'OK', 4: 'OK' })
  expect(all.filter(({ code }) => code === 'OK').map(rowsOf)).toEqual([[1], [20], [40]])
  expect(gate.scored).toEqual([[1], [20], [40]])
})

test('a deadline that is over at the door of a thread', async () => {
  await atTheDoor(gate.request(2, [20], soon), gate.request(3, [30, 31]), gate.request(4, [40], soon))
  expect(codes(await replies(2))).toEqual({ 2: 'DEADLINE_EXCEEDED', 4: 'DEADLINE_EXCEEDED' })
  gate.open()
  const all = await replies(4)
  expect(rowsOf(all[2]!)).toEqual([30, 31])
  expect(gate.scored).toEqual([[1], [30, 31]])
})

test('a batch in which nobody is left does not run', async () => {
  await atTheDoor(gate.request(2, [20], soon))
  socket.send(encodeRequestList([gate.request(3, [30], soon), gate.request(4, [40], soon)]))
  await replies(3)
  gate.open()
  await replies(4)
  await served.idle()
  expect(gate.scored).toEqual([[1]])
})

test('a request whose parts are in several batches is answered once, and none of them runs', async () => {
  await atTheDoor(gate.request(2, [20]))
  const rows = Array.from({ length: 20 }, (_, i) => 100 + i)
  socket.send(encodeRequestList([gate.request(3, rows, soon), gate.request(4, [40])]))
  expect(codes(await replies(1))).toEqual({ 3: 'DEADLINE_EXCEEDED' })
  gate.open()
  expect(codes(await replies(4))).toEqual({ 1: 'OK', 2: 'OK', 3: 'DEADLINE_EXCEEDED', 4: 'OK' })
  await served.idle()
  expect(socket.messages).toHaveLength(4)
  expect(gate.scored).toEqual([[1], [20], [40]])
})

test.each(['closes', 'vanishes'])('a socket that %s: its rows do not run, in the queue or at the door', async (how) => {
  const before = await cancelled()
  const other = await RawSocket.open(served.server.port)
  const send = (...requests: Uint8Array[]): void => other.send(encodeRequestList(requests))
  send(gate.request(10, [20]), gate.request(11, [21, 22]))
  await until('the thread has two batches', async () => (await served.lane()).pools[0]!.batchesInFlight === 2 || '1')
  // Eight rows are a batch: one of its own and one that it shares.
  send(gate.request(12, [30, 31, 32, 33, 34, 35, 36, 37]), gate.request(13, [40]))
  await until('all wait', async () => (await served.lane()).requestsInFlight === 5 || 'not yet')
  socket.send(gate.request(2, [50]))
  await until('all wait', async () => (await served.lane()).requestsInFlight === 6 || 'not yet')
  if (how === 'closes') await other.close()
  else other.terminate()
  await until('they are let go', async () => (await served.lane()).requestsInFlight === 2 || 'not yet')
  gate.open()
  expect(codes(await replies(2))).toEqual({ 1: 'OK', 2: 'OK' })
  await served.idle()
  expect(gate.scored).toEqual([[1], [50]])
  expect((await cancelled()) - before).toBe(4)
})

test('an answer that cannot come in time is refused on arrival, and nobody who can wait is', async () => {
  await atTheDoor(gate.request(2, [20]))
  socket.send(gate.request(3, [30]))
  const other = await RawSocket.open(served.server.port)
  // What it says is by what the thread is late by: it grows.
  await until('one is refused', async () => {
    other.send(gate.request(100, [100], { deadlineUs: 10_000 }))
    const { message, code } = repliesById(await other.received(other.messages.length + 1)).at(-1)!
    expect(code).toBe('DEADLINE_EXCEEDED')
    return (
      /^deadline: gated@1 may take [\d.]+ ms to answer, by what waits before it, and the request gives 10 ms;/.test(
        message,
      ) || message
    )
  })
  await other.close()
  socket.send(gate.request(4, [40], { deadlineUs: 60_000_000 }))
  gate.open()
  expect(codes(await replies(4))).toEqual({ 1: 'OK', 2: 'OK', 3: 'OK', 4: 'OK' })
  expect(gate.scored.flat()).not.toContain(100)
  // Nobody waits any more: nobody is refused for what was.
  await served.idle()
  socket.send(gate.request(5, [50], { deadlineUs: 5_000_000 }))
  expect(codes(await replies(5))).toMatchObject({ 5: 'OK' })
})

test('a batch that runs for nobody is not waited for', async () => {
  socket.terminate()
  await until('its request is let go', async () => (await served.lane()).requestsInFlight === 0 || 'not yet')
  expect((await served.lane()).pools[0]).toMatchObject({ batchesInFlight: 1, restarts: 0 })
})

/** Requests that were counted as CANCELLED. */
async function cancelled(): Promise<number> {
  const { requests } = await served.lane()
  return requests.filter(({ code }) => code === 'CANCELLED').reduce((sum, { count }) => sum + count, 0)
}
