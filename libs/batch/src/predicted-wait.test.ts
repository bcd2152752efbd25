import { Arena, seededRandom, type Signature } from '@millrace/base'
import { admit, BatchQueue, BulkTurn, isSmall, PredictedWait, type Batch, WaitingQueues } from './index'

/*
 * The policy on servers that are made up: threads that hold two batches each, of which one runs. Time is a number, so a
 * run of seconds takes milliseconds, and comes out the same each time.
 */

interface Server {
  readonly threads: number
  readonly rowsMax: number
  /** Microseconds of a batch, of `random` in [0, 1). */
  runUs(rows: number, random: number): number
}

interface Load {
  /** Times what the server can do with full batches. */
  readonly factor: number
  readonly seconds: number
  /** Once, in its middle, the front thread or the threads that run do nothing for 50 ms: others have the machine. */
  readonly stall?: 'front' | 'threads' | undefined
}

const stallUs = 50_000

interface Outcome {
  readonly due: readonly number[]
  /** Answered in time, by priority, of which the first goes first. */
  readonly good: readonly number[]
  readonly late: number
  readonly refused: readonly number[]
  readonly goodput: number
  /** Milliseconds, of what was answered. */
  readonly p99: number
}

const signature: Signature = { inputs: [], outputs: [] }
const budgetUs = 100_000

/** Poisson arrivals of single rows, a fifth of them bulk; each load goes on where the one before ended. */
function simulate(server: Server, loads: readonly Load[], seed = 1): Outcome[] {
  const random = seededRandom(seed)
  const arena = new Arena(2 ** 24, 64)
  const queues = [0, 1].map(
    (id) =>
      new BatchQueue(arena, {
        id,
        signature,
        rowsMax: server.rowsMax,
        queueRowsMax: 1e6,
        slabBytesMax: 2 ** 20,
        stringBytesPerRow: 0,
        waitUs: 0,
      }),
  )
  const arrivals = new Map<Batch, number[]>()
  /** By thread: its batches, the first of which runs, and when that ends. */
  const threads = Array.from({ length: server.threads }, () => ({
    held: [] as Batch[],
    runUs: Infinity,
    endUs: Infinity,
  }))
  const turn = new BulkTurn()
  const list = new WaitingQueues()
  list.serve(queues.slice(0, 1))
  const capacity = (server.threads * server.rowsMax * 1e6) / server.runUs(server.rowsMax, 0.5)
  let nowUs = 1e9
  let late = 0
  /** When the front thread is back from a stall that began. */
  let stall = { of: '', beginUs: Infinity }
  const seenUs = (us: number): number =>
    stall.of === 'front' && us > stall.beginUs ? Math.max(us, stall.beginUs + stallUs) : us
  const begin = (thread: (typeof threads)[number], beginUs: number): void => {
    const [batch] = thread.held
    // As a worker does: whose time is over does not run.
    const rows = batch === undefined ? 0 : leaveOut(batch, beginUs)
    thread.runUs = batch === undefined ? Infinity : rows === 0 ? 0 : server.runUs(rows, random())
    if (stall.of === 'threads' && beginUs <= stall.beginUs && stall.beginUs < beginUs + thread.runUs)
      thread.runUs += stallUs
    thread.endUs = beginUs + thread.runUs
  }
  const leaveOut = (batch: Batch, beginUs: number): number => {
    const wanted = arrivals.get(batch)!.filter((at) => beginUs - at <= budgetUs)
    late += arrivals.get(batch)!.length - wanted.length
    arrivals.set(batch, wanted)
    return (batch.rows = wanted.length)
  }
  const dispatch = (): void => {
    for (;;) {
      const thread = threads.reduce((least, one) => (one.held.length < least.held.length ? one : least))
      const order = turn.isDue ? [...queues].reverse() : queues
      const queue = order.find((one) => one.oldestUs(nowUs) !== Infinity)
      if (thread.held.length === 2 || queue === undefined) return
      const batch = queue.take(nowUs)
      const { fixedUs, rowUs } = queue.wait
      if (queue !== queues[0]) turn.tookBulk()
      else {
        turn.tookInteractive(isSmall(batch.rows, queue.rowsLimit, fixedUs, rowUs), list.pressed)
        list.pressed = false
      }
      queue.wait.turn(batch.openedUs, nowUs)
      if (thread.held.push(batch) === 1) begin(thread, nowUs)
    }
  }
  return loads.map(({ factor, seconds, stall: of }) => {
    const [due, good, refused] = [
      [0, 0],
      [0, 0],
      [0, 0],
    ]
    const times: number[] = []
    late = 0
    const endUs = nowUs + seconds * 1e6
    let arrivalUs = nowUs
    if (of !== undefined) stall = { of, beginUs: nowUs + (seconds * 1e6) / 2 }
    for (;;) {
      arrivalUs += (-Math.log(1 - random()) * 1e6) / (factor * capacity)
      for (;;) {
        const next = threads.reduce((first, one) => (one.endUs < first.endUs ? one : first))
        if (seenUs(next.endUs) > seenUs(arrivalUs)) break
        const ranUs = next.endUs
        nowUs = seenUs(ranUs)
        const batch = next.held.shift()!
        for (const at of arrivals.get(batch)!) {
          times.push((nowUs - at) / 1000)
          if (nowUs - at > budgetUs) late++
          else good![batch.queue.id]!++
        }
        arrivals.delete(batch)
        if (batch.rows > 0)
          batch.queue.wait.answered(batch.rows, batch.openedUs, batch.takenUs, next.runUs, batch.predictedUs, nowUs)
        batch.queue.free(batch)
        begin(next, ranUs)
        dispatch()
      }
      if (arrivalUs > endUs) break
      nowUs = seenUs(arrivalUs)
      const queue = queues[random() < 0.2 ? 1 : 0]!
      due![queue.id]!++
      if (queue.overdueUs(1, budgetUs, nowUs) > 0) {
        refused![queue.id]!++
        continue
      }
      const batch = queue.room(1, 0, nowUs)!
      admit(batch, 0, 1, 0, nowUs + budgetUs)
      if (!arrivals.has(batch)) arrivals.set(batch, [])
      arrivals.get(batch)!.push(nowUs)
      dispatch()
    }
    nowUs = endUs
    times.sort((a, b) => a - b)
    const goodput = (good![0]! + good![1]!) / seconds
    return { due: due!, good: good!, late, refused: refused!, goodput, p99: times[Math.floor(times.length * 0.99)]! }
  })
}

const linear = (rows: number): number => 400 + 400 * rows
const servers: readonly [name: string, server: Server, lateMost: number][] = [
  ['rows cost what they cost', { threads: 1, rowsMax: 16, runUs: linear }, 0.01],
  ['a run costs much however few its rows', { threads: 1, rowsMax: 16, runUs: (rows) => 5000 + 10 * rows }, 0.01],
  ['four threads', { threads: 4, rowsMax: 16, runUs: linear }, 0.01],
  ['a full batch takes a third of the budget', { threads: 1, rowsMax: 64, runUs: (rows) => 400 + 520 * rows }, 0.01],
  ['times vary threefold', { threads: 1, rowsMax: 16, runUs: (rows, r) => linear(rows) * (0.5 + r) }, 0.05],
  [
    'one run in fifty takes five times as long',
    { threads: 1, rowsMax: 16, runUs: (rows, r) => linear(rows) * (r < 0.02 ? 5 : 1) },
    0.15,
  ],
]

describe.each(servers)('%s', (_, server, lateMost) => {
  const loads = [0.5, 1, 2, 3, 0.5, 0.5].map((factor) => ({ factor, seconds: factor === 0.5 ? 1 : 2 }))
  const outcomes = simulate(server, loads)
  const [half, , twice, thrice, after, well] = outcomes

  test('half of what it can do: nobody is refused, nor bulk but while costs are new', () => {
    expect(half).toMatchObject({ refused: [0, expect.any(Number)], late: 0 })
    expect(half!.refused[1]! / half!.due[1]!).toBeLessThan(0.01)
  })

  test('three times as much: it does what it can', () => {
    const most = Math.max(...outcomes.map(({ goodput }) => goodput))
    expect(twice!.goodput).toBeGreaterThan(0.9 * most)
    expect(thrice!.goodput).toBeGreaterThan(0.9 * most)
  })

  test('what is let in is answered in time', () => {
    const { good, late } = thrice!
    expect(late / (late + good[0]! + good[1]!)).toBeLessThan(lateMost)
  })

  test('interactive before bulk', () => {
    expect(thrice!.good[0]! / thrice!.due[0]!).toBeGreaterThan(0.3)
    expect(thrice!.good[1]! / thrice!.due[1]!).toBeLessThan(0.01)
  })

  test('a second after the load all is well', () => {
    expect(after!.goodput).toBeGreaterThan(0)
    expect(well).toMatchObject({ refused: [0, expect.any(Number)], late: 0 })
    expect(well!.refused[1]! / well!.due[1]!).toBeLessThan(0.01)
  })
})

describe.each(['front', 'threads'] as const)('half of what it can do, and a stall of 50 ms: %s', (stall) => {
  const half = { factor: 0.5, seconds: 1 }
  // A batch that costs much is not cut: what came during the stall goes in one.
  const large: Server = { threads: 1, rowsMax: 512, runUs: (rows) => 500 + 100 * rows }
  const all: (readonly [string, Server])[] = [...servers.map(([name, one]) => [name, one] as const), ['large', large]]

  test.each(all)('%s: hardly anybody is refused, nobody is late', (_, server) => {
    for (let seed = 1; seed <= 3; seed++) {
      const [, stalled, after] = simulate(server, [{ ...half, seconds: 2 }, { ...half, stall }, half], seed)
      expect(stalled!.refused[0]! / stalled!.due[0]!).toBeLessThan(0.01)
      expect([seed, stalled!.late]).toEqual([seed, 0])
      expect(after).toMatchObject({ refused: [0, 0], late: 0 })
    }
  })
})

test('runs of 15 ms and more, a quarter of what it can do: nobody is refused for long for what was late at first', () => {
  const server: Server = { threads: 1, rowsMax: 512, runUs: (rows) => 15_000 + 100 * rows }
  const [, second] = simulate(server, [
    { factor: 0.25, seconds: 1 },
    { factor: 0.25, seconds: 1 },
  ])
  expect(second!.good[0]! / second!.due[0]!).toBeGreaterThan(0.97)
  expect(second!.good[1]! / second!.due[1]!).toBeGreaterThan(0.5)
})

test('three times as much, and the deadline keeps batches small: bulk yields, and is back when it is over', () => {
  const server: Server = { threads: 1, rowsMax: 512, runUs: (rows) => 15_000 + 100 * rows }
  const outcomes = simulate(
    server,
    [0.25, 3, 0.25, 0.25].map((factor) => ({ factor, seconds: 4 })),
  )
  const [, thrice, , well] = outcomes
  expect(thrice!.good[1]! / thrice!.due[1]!).toBeLessThan(0.01)
  expect(thrice!.goodput).toBeGreaterThan(well!.goodput)
  expect(well!.good[1]! / well!.due[1]!).toBeGreaterThan(0.98)
})

test('from idle to three times what it can do at once', () => {
  const [, thrice] = simulate(servers[0]![1], [
    { factor: 0.1, seconds: 1 },
    { factor: 3, seconds: 2 },
  ])
  expect(thrice!.late / (thrice!.late + thrice!.good[0]!)).toBeLessThan(0.1)
})

describe('what is predicted', () => {
  test('nothing is, where nothing is known', () => {
    expect(new PredictedWait().predictUs(10, 100, 10, 0, 1e6)).toBe(0)
  })

  test('batches before it, by what their rows cost, and its own', () => {
    const wait = new PredictedWait()
    let now = 0
    for (let i = 0; i < 100; i++) {
      // A thread that does one batch after the other: 100 us, and 10 for each of 5 or 15 rows.
      const rows = i % 2 === 0 ? 5 : 15
      wait.turn(now, now + 100 + 10 * rows)
      wait.answered(rows, now, now, 100 + 10 * rows, 200, now + 100 + 10 * rows)
      now += 100 + 10 * rows
    }
    // Three turns with 30 rows, then 10 of its own.
    expect(wait.predictUs(3, 30, 10, now, now)).toBeCloseTo(600 + 200, -1)
    // The next turn is late by 5 ms.
    expect(wait.predictUs(3, 30, 10, now, now + 5200)).toBeCloseTo(5000 + 800, -1)
  })

  test('a batch of its own that is larger than others were counts once', () => {
    const wait = new PredictedWait()
    let now = 0
    for (let i = 0; i < 100; i++, now += 200) {
      const rows = i % 2 === 0 ? 5 : 15
      wait.turn(now, now + 100 + 10 * rows)
      wait.answered(rows, now, now, 100 + 10 * rows, 200, now + 100 + 10 * rows)
    }
    // What runs now, as large as others, and its own.
    expect(wait.predictUs(1, 200, 200, now, now)).toBeLessThan(200 + 2100 + 1)
    expect(wait.predictUs(1, 200, 200, now, now)).toBeGreaterThan(2200)
  })

  test('one answer that took long is no reason to expect the next, two are', () => {
    const told = (stalls: number): number => {
      const wait = new PredictedWait()
      for (let i = 0; i < 20; i++) wait.answered(1, 0, 0, 100, 200, i < 20 - stalls ? 100 : 50_000)
      return wait.predictUs(1, 1, 1, 0, 0)
    }
    expect(told(1)).toBeLessThan(200)
    expect(told(2)).toBeGreaterThan(2000)
  })

  test('what answers were late by is kept free, up to half of what there is', () => {
    const wait = new PredictedWait()
    wait.answered(1, 0, 0, 100, 1000, 3000)
    expect(wait.slackUs(10_000)).toBe(2000)
    expect(wait.slackUs(3000)).toBe(1500)
    for (let i = 0; i < 1000; i++) wait.answered(1, 0, 0, 100, 10_000, 3000)
    expect(wait.slackUs(10_000)).toBeLessThan(1)
    // By time, however few batches there are in it.
    wait.answered(1, 3000, 3000, 100, 1000, 6000)
    wait.answered(1, 400_000, 400_000, 100, 10_000, 406_000)
    expect(wait.slackUs(10_000)).toBeCloseTo(1000)
  })
})
