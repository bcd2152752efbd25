import { Arena, type ColumnSpec, type Signature } from '@millrace/base'
import fc from 'fast-check'
import { admit, BatchQueue, Header, WaitingQueues, type Batch, type QueueOptions } from './index'

const column = (name: string, spec: Partial<ColumnSpec> = {}): ColumnSpec => ({
  name,
  dtype: 'f32',
  per: 'row',
  shape: [],
  ragged: false,
  ...spec,
})
const text = { dtype: 'string', ragged: true } as const
const scores: Signature = { inputs: [column('x', { shape: [4] }), column('t', text)], outputs: [column('y')] }
const labels: Signature = { inputs: [column('t', text)], outputs: [column('label', text)] }

function queueOf(arena: Arena, options: Partial<QueueOptions> = {}): BatchQueue {
  return new BatchQueue(arena, {
    id: 1,
    signature: scores,
    rowsMax: 8,
    queueRowsMax: 64,
    slabBytesMax: 8192,
    stringBytesPerRow: 32,
    waitUs: 0,
    ...options,
  })
}

interface Admitted {
  readonly call: number
  readonly rows: number
  readonly rowOfRequest: number
  readonly heapBytes: number
}
/** A batch as the test believes it to be. */
interface Expected {
  readonly batch: Batch
  readonly calls: Admitted[]
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('admit' as const),
      rows: fc.integer({ min: 1, max: 8 }),
      rowOfRequest: fc.nat(1000),
      heapBytes: fc.oneof(fc.nat(100), fc.nat(1500)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('take' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('free' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
)

test.each([
  ['dense outputs', scores],
  ['ragged outputs', labels],
])('every call is in one batch, in order, whatever happens: %s', (_, signature) => {
  let refused = 0
  let answered = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const arena = new Arena(2 ** 13, 64)
      const queue = queueOf(arena, { signature, slabBytesMax: 4096 })
      const waiting: Expected[] = []
      const taken: Expected[] = []
      let calls = 0
      let now = 0
      const check = (): void => {
        const rows = waiting.flatMap((one) => one.calls).reduce((sum, one) => sum + one.rows, 0)
        expect(queue.rowsWaiting).toBe(rows)
        expect(arena.usedBlocks).toBe(waiting.length + taken.length)
        expect(queue.oldestUs(now)).toBe(waiting[0]?.batch.openedUs ?? Infinity)
      }
      const take = (): void => {
        const oldest = waiting.shift()!
        const batch = queue.take(++now)
        expect(batch).toBe(oldest.batch)
        expect(batch.takenUs).toBe(now)
        expectHolds(arena, batch, oldest.calls)
        taken.push(oldest)
      }
      for (const step of steps) {
        if (step.do === 'admit') {
          expect(step.heapBytes).toBeLessThanOrEqual(queue.heapBytesMax)
          const used = arena.usedBlocks
          const batch = queue.room(step.rows, step.heapBytes, ++now)
          if (batch === null) {
            refused++
            expect(arena.usedBlocks).toBe(used)
            expect(queue.open).toBeNull()
          } else {
            expect(batch).toBe(queue.open)
            expect(batch.heapLeft).toBeGreaterThanOrEqual(step.heapBytes)
            if (waiting.at(-1)?.batch !== batch) waiting.push({ batch, calls: [] })
            const { calls: before } = waiting.at(-1)!
            expect(admit(batch, calls, step.rows, step.rowOfRequest, Infinity)).toBe(before.length)
            batch.heapUsed += step.heapBytes
            before.push({ ...step, call: calls++ })
          }
        } else if (step.do === 'take' && waiting.length > 0) take()
        else if (step.do === 'close') {
          queue.close()
          expect(queue.open).toBeNull()
        } else if (step.do === 'free' && taken.length > 0) {
          queue.free(taken.splice(step.which % taken.length, 1)[0]!.batch)
          answered++
        }
        check()
      }
      while (waiting.length > 0) {
        take()
        check()
      }
      for (const { batch } of taken) queue.free(batch)
      expect(arena.usedBytes).toBe(0)
      expect(arena.take(arena.totalBytes)).toBe(0)
    }),
    { seed: 1, numRuns: 200 },
  )
  // The runs above met a full arena and reused slabs, or they have shown little.
  expect(refused).toBeGreaterThan(0)
  expect(answered).toBeGreaterThan(0)
})

/** What the worker will read of a batch, and what the reply needs to find its way back. */
function expectHolds(arena: Arena, batch: Batch, calls: readonly Admitted[]): void {
  const { layout } = batch.queue
  const rows = calls.reduce((sum, one) => sum + one.rows, 0)
  const heapUsed = calls.reduce((sum, one) => sum + one.heapBytes, 0)
  expect(rows).toBeLessThanOrEqual(layout.rowsMax)
  expect(layout.heap + heapUsed).toBeLessThanOrEqual(batch.blockBytes)
  const header = new Uint32Array(arena.memory, batch.offset, 16)
  expect([header[Header.rows], header[Header.requests], header[Header.heapUsed]]).toEqual([
    rows,
    calls.length,
    heapUsed,
  ])
  expect([...batch.call.subarray(0, calls.length)]).toEqual(calls.map((one) => one.call))
  expect([...batch.rowOfRequest.subarray(0, calls.length)]).toEqual(calls.map((one) => one.rowOfRequest))
  const requestOf = new Uint32Array(arena.memory, batch.offset + layout.requestOf, rows)
  expect([...requestOf]).toEqual(calls.flatMap((one, request) => Array<number>(one.rows).fill(request)))
  calls.forEach((one, request) => {
    expect(requestOf.indexOf(request)).toBe(batch.rowBegin[request])
    expect(batch.rowBegin[request + 1]).toBe(batch.rowBegin[request]! + one.rows)
  })
}

test('rows gather in the open batch while they fit', () => {
  const queue = queueOf(new Arena(2 ** 15, 64))
  const first = queue.room(5, 0, 1)!
  admit(first, 0, 5, 0, Infinity)
  expect(queue.room(3, 0, 2)).toBe(first)
  admit(first, 1, 3, 0, Infinity)
  const second = queue.room(1, 0, 3)!
  expect(second).not.toBe(first)
  admit(second, 2, 1, 0, Infinity)
  expect(queue.take(4)).toBe(first)
  expect(queue.take(5)).toBe(second)
  expect(queue.rowsWaiting).toBe(0)
  expect(() => queue.take(6)).toThrow(/queue with a batch/)
})

test('a full arena refuses and serves again once a slab is free', () => {
  const arena = new Arena(2 ** 12, 64)
  const queue = queueOf(arena)
  const batches: Batch[] = []
  for (let batch = queue.room(8, 0, 0); batch !== null; batch = queue.room(8, 0, 0)) {
    admit(batch, batches.length, 8, 0, Infinity)
    batches.push(batch)
  }
  expect(batches.length).toBe(arena.totalBytes / queue.slabBytes)
  expect(queue.rowsWaiting).toBe(8 * batches.length)
  queue.free(queue.take(1))
  expect(queue.room(8, 0, 2)).not.toBeNull()
})

test('strings that need more than an ordinary slab get a larger one', () => {
  const arena = new Arena(2 ** 15, 64)
  for (const signature of [scores, labels]) {
    const queue = queueOf(arena, { signature })
    const batch = queue.room(1, queue.heapBytesMax, 0)!
    expect(batch.blockBytes).toBeGreaterThan(queue.slabBytes)
    expect(batch.blockBytes).toBeLessThanOrEqual(queue.slabBytesMax)
    expect(batch.heapLeft).toBe(queue.heapBytesMax)
  }
})

test('large rows make smaller batches', () => {
  const image = { inputs: [column('image', { dtype: 'u8', shape: [1000] })], outputs: [column('y')] }
  const queue = queueOf(new Arena(2 ** 15, 64), { signature: image, rowsMax: 64 })
  expect(queue.layout.rowsMax).toBe(4)
  expect(queue.slabBytes).toBeLessThanOrEqual(8192)
})

test('an open batch waits for more rows, a full or closed one does not', () => {
  const queue = queueOf(new Arena(2 ** 15, 64), { waitUs: 100 })
  expect(queue.oldestUs(0)).toBe(Infinity)
  admit(queue.room(1, 0, 1000)!, 0, 1, 0, Infinity)
  expect(queue.oldestUs(1099)).toBe(Infinity)
  expect(queue.oldestUs(1100)).toBe(1000)
  admit(queue.room(7, 0, 1050)!, 1, 7, 0, Infinity)
  expect(queue.oldestUs(1050)).toBe(1000)
  queue.take(1050)
  admit(queue.room(1, 0, 2000)!, 2, 1, 0, Infinity)
  queue.close()
  expect(queue.oldestUs(2000)).toBe(2000)
})

test('the queue whose batch has waited longest is next', () => {
  const waits = fc.array(fc.option(fc.nat(20)), { maxLength: 12 })
  fc.assert(
    fc.property(waits, fc.boolean(), (opened, served) => {
      const arena = new Arena(2 ** 15, 64)
      const queues = opened.map((at) => {
        const queue = queueOf(arena)
        if (at !== null && served) admit(queue.room(1, 0, at)!, 0, 1, 0, Infinity)
        return queue
      })
      const lists = [new WaitingQueues(), new WaitingQueues()]
      for (const list of lists) list.serve(queues)
      if (!served) opened.forEach((at, q) => at !== null && admit(queues[q]!.room(1, 0, at)!, 0, 1, 0, Infinity))
      const order = opened.flatMap((at) => at ?? []).sort((a, b) => a - b)
      for (const at of order) {
        const [queue, same] = lists.map((list) => list.next(100))
        expect(lists[1]!.next(100, (one) => one !== queue)?.oldestUs(100) ?? Infinity).toBeGreaterThanOrEqual(at)
        expect(same).toBe(queue)
        expect(queue!.take(100).openedUs).toBe(at)
        expect([queue!.rowsWaiting, queue!.underWay]).toEqual([0, 1])
      }
      for (const list of lists) expect([list.next(100), list.waiting]).toEqual([null, []])
    }),
    { seed: 1 },
  )
})

test('a list has what it serves, and what it does not serve any more leaves no trace', () => {
  const arena = new Arena(2 ** 15, 64)
  const [a, b] = [queueOf(arena), queueOf(arena)]
  const list = new WaitingQueues()
  list.serve([a])
  for (const queue of [a, b]) admit(queue.room(1, 0, 1)!, 0, 1, 0, Infinity)
  expect(list.waiting).toEqual([a])
  list.serve([b])
  expect(list.waiting).toEqual([b])
  a.take(2)
  a.press()
  expect([list.waiting, list.pressed]).toEqual([[b], false])
  b.press()
  expect(list.pressed).toBe(true)
})
