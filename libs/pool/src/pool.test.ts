import { EventEmitter, once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { affinityOf, Pool, type Pinned, type PoolOptions } from './index'

const workerFile = join(__dirname, '../../../test/support/pool-worker.js')
const onLinux = process.platform === 'linux' ? test : test.skip

interface Where {
  readonly threadId: number
  readonly pid: number
  readonly pinned: Pinned
}

const pools: Pool[] = []
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()))
})

function poolOf(options: Partial<PoolOptions> = {}): Pool {
  const pool = new Pool({ name: 'cpu', workerFile, workerData: {}, threads: 1, batchesPerThread: 1, ...options })
  pools.push(pool)
  return pool
}

/** Runs one batch. */
function run(pool: Pool, message: unknown): Promise<void> {
  return new Promise((resolve, reject) => pool.run(message, 0, (error) => (error === null ? resolve() : reject(error))))
}

/** Asks the pool's first thread. */
function ask<T>(pool: Pool, message: unknown): Promise<T> {
  return pool.all[0]!.ask<T>(message)
}

/** Batches that stay on their thread until they are let go. */
class Hold {
  readonly flags = new Int32Array(new SharedArrayBuffer(40))

  run(pool: Pool): Promise<void> {
    return run(pool, { task: 'hold', flags: this.flags, arrived: 0, release: 1 })
  }

  /** Threads that have had one. */
  threads(): Set<number> {
    return new Set(this.flags.subarray(2, 2 + this.flags[0]!))
  }

  /** Until `n` of them are on a thread. */
  async arrived(n: number): Promise<void> {
    while (Atomics.load(this.flags, 0) < n) await new Promise((resolve) => setImmediate(resolve))
  }

  release(): void {
    Atomics.store(this.flags, 1, 1)
  }
}

/** A pool whose losses and replacements can be awaited. */
function watched(options: Partial<PoolOptions> = {}): { pool: Pool; events: EventEmitter; reasons: Error[] } {
  const events = new EventEmitter()
  const reasons: Error[] = []
  const pool = poolOf({
    ...options,
    onLost: (reason) => {
      reasons.push(reason)
      events.emit('lost')
    },
    onReplaced: () => events.emit('replaced'),
  })
  return { pool, events, reasons }
}

test('answers come back, shared memory stays shared', async () => {
  const pool = poolOf()
  const value = { scores: Float32Array.of(1, 2), name: 'price', missing: undefined }
  expect(await ask(pool, { task: 'echo', value })).toEqual(value)
  const shared = new SharedArrayBuffer(8)
  const answer = await ask<SharedArrayBuffer>(pool, { task: 'echo', value: shared })
  new Uint8Array(answer)[3] = 7
  expect(new Uint8Array(shared)[3]).toBe(7)
})

test('batches run at the same time, each on a thread of its own, and are counted', async () => {
  const pool = poolOf({ threads: 2, batchesPerThread: 2 })
  expect([pool.free, pool.ready]).toEqual([4, 2])
  const hold = new Hold()
  const answers = [hold.run(pool), hold.run(pool), hold.run(pool)]
  expect(pool.free).toBe(1)
  await hold.arrived(3)
  hold.release()
  await Promise.all(answers)
  expect(hold.threads().size).toBe(2)
  expect([pool.free, pool.restarts]).toEqual([4, 0])
})

test('a batch that fails says so and keeps its thread, and what is there beside it runs', async () => {
  const pool = poolOf({ batchesPerThread: 4 })
  const before = await ask<Where>(pool, { task: 'where' })
  const ran = await Promise.allSettled([
    run(pool, { task: 'echo', value: 1 }),
    run(pool, { task: 'throw', value: 'column x is missing' }),
    run(pool, { task: 'echo', value: 2 }),
  ])
  expect(ran.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(ran[1]).toMatchObject({ reason: { message: 'column x is missing' } })
  const after = await ask<Where>(pool, { task: 'where' })
  expect(after.threadId).toBe(before.threadId)
  expect([pool.free, pool.restarts]).toEqual([4, 0])
})

test('short batches have room beside what a thread has, while all of it is done soon', async () => {
  const pool = poolOf({ batchesPerThread: 1 })
  const hold = new Hold()
  const given = (us: number): Promise<void> =>
    new Promise((resolve) => pool.run({ task: 'hold', flags: hold.flags, arrived: 0, release: 1 }, us, () => resolve()))
  expect([pool.hasRoom(200), pool.hasRoom(1000)]).toEqual([true, false])
  const held = [given(100)]
  if (pool.hasRoom(100)) held.push(given(100))
  expect([pool.free, pool.hasRoom(200)]).toEqual([0, false])
  // One that hangs attracts no others.
  while (pool.hasRoom(1)) await new Promise((resolve) => setImmediate(resolve))
  await hold.arrived(held.length)
  hold.release()
  await Promise.all(held)
  expect([pool.free, pool.hasRoom(200)]).toEqual([1, true])
})

test('beside a batch that nobody knows there is no room', async () => {
  const pool = poolOf()
  const hold = new Hold()
  const held = hold.run(pool)
  expect(pool.hasRoom(1)).toBe(false)
  hold.release()
  await held
})

test('so many short batches at most, however short', async () => {
  const pool = poolOf()
  let given = 0
  const ended: Promise<void>[] = []
  const one = (): Promise<void> => new Promise((resolve) => pool.run({ task: 'echo' }, 0.001, () => resolve()))
  for (; pool.free > 0 || pool.hasRoom(0.001); given++) ended.push(one())
  expect(given).toBeLessThanOrEqual(16)
  await Promise.all(ended)
  expect([pool.free, pool.hasRoom(200)]).toEqual([1, true])
})

test('what ran is told, whatever came together with it and still runs', async () => {
  const pool = poolOf({ batchesPerThread: 2 })
  const hold = new Hold()
  const short = (message: object): Promise<void> => new Promise((resolve) => pool.run(message, 10, () => resolve()))
  const first = short({ task: 'echo' })
  const held = short({ task: 'hold', flags: hold.flags, arrived: 0, release: 1 })
  await first
  expect(pool.free).toBe(1)
  hold.release()
  await held
})

test('batches end in whatever order their thread ends them', async () => {
  const pool = poolOf({ batchesPerThread: 3 })
  const ended: string[] = []
  const hold = new Hold()
  const held = hold.run(pool).then(() => ended.push('held'))
  await run(pool, { task: 'echo', value: 1 }).then(() => ended.push('second'))
  const third = run(pool, { task: 'echo', value: 2 }).then(() => ended.push('third'))
  await third
  hold.release()
  await held
  expect(ended).toEqual(['second', 'third', 'held'])
})

test('what a thread ran before it ended has run', async () => {
  const { pool, events } = watched()
  const replaced = once(events, 'replaced')
  await run(pool, { task: 'exit after', value: 1 })
  await replaced
  await run(pool, { task: 'echo', value: 1 })
})

describe.each([
  ['throws where nobody catches', { task: 'throw outside', value: 'a native library gave up' }, /gave up/],
  ['exits', { task: 'exit', value: 3 }, /exit/],
])('a thread that %s', (_, death, reason) => {
  test('rejects its batches and is replaced, again and again', async () => {
    const { pool, events, reasons } = watched({ batchesPerThread: 2 })
    let thread = (await ask<Where>(pool, { task: 'where' })).threadId
    for (let times = 1; times <= 3; times++) {
      const replaced = once(events, 'replaced')
      const hold = new Hold()
      const answers = [hold.run(pool), run(pool, death)]
      const settled = await Promise.allSettled(answers)
      expect(settled.map((one) => one.status)).toEqual(['rejected', 'rejected'])
      await replaced
      expect([pool.free, pool.ready, pool.restarts]).toEqual([2, 1, times])
      expect(reasons.length).toBe(times)
      expect(reasons.at(-1)!.message).toMatch(reason)
      const next = (await ask<Where>(pool, { task: 'where' })).threadId
      expect(next).not.toBe(thread)
      thread = next
    }
  })

  test('disturbs no other', async () => {
    const { pool, events } = watched({ threads: 2 })
    const hold = new Hold()
    const undisturbed = hold.run(pool)
    await hold.arrived(1)
    const [lost, replaced] = [once(events, 'lost'), once(events, 'replaced')]
    await expect(run(pool, death)).rejects.toThrow(reason)
    await lost
    expect([pool.free, pool.ready]).toEqual([0, 1])
    await replaced
    expect([pool.free, pool.ready]).toEqual([1, 2])
    hold.release()
    await undisturbed
    expect(pool.free).toBe(2)
  })
})

test('says when there is room that was not: for whoever has batches that wait', async () => {
  let times = 0
  const { pool, events } = watched({ threads: 2, onFree: () => times++ })
  expect(times).toBe(2)
  const replaced = once(events, 'replaced')
  await expect(run(pool, { task: 'exit', value: 3 })).rejects.toThrow()
  await replaced
  expect([times, pool.free]).toEqual([3, 2])
  await run(pool, { task: 'echo', value: 1 })
  expect(times).toBe(3)
  await pool.all[0]!.aside(() => Promise.resolve())
  expect([times, pool.free]).toEqual([4, 2])
})

test('threads that cannot start are not started over and over', async () => {
  const { pool, events, reasons } = watched({ workerData: { failsToStart: true } })
  if (reasons.length === 0) await once(events, 'lost')
  expect(reasons[0]!.message).toMatch(/model file is not there/)
  expect([pool.free, pool.ready]).toEqual([0, 0])
  // As long as a healthy pool takes to start, and longer.
  for (let i = 0; i < 3; i++) await run(poolOf(), { task: 'echo', value: 1 })
  expect(pool.restarts).toBe(1)
})

describe('close', () => {
  test('waits for what runs', async () => {
    const pool = poolOf({ threads: 2 })
    const hold = new Hold()
    const answers = [hold.run(pool), hold.run(pool)]
    await hold.arrived(2)
    const closed = pool.close()
    hold.release()
    await Promise.all(answers)
    await closed
    expect(pool.restarts).toBe(0)
  })

  test('does not wait for ever', async () => {
    const pool = poolOf()
    const hold = new Hold()
    const answer = expect(hold.run(pool)).rejects.toThrow()
    await hold.arrived(1)
    await pool.close(20)
    await answer
  })

  onLinux('leaves no thread', async () => {
    const pool = poolOf({ threads: 2 })
    const hold = new Hold()
    const held = [hold.run(pool), hold.run(pool)]
    await hold.arrived(2)
    hold.release()
    await Promise.all(held)
    const { pid, pinned } = await ask<Where>(pool, { task: 'where' })
    expect(existsSync(`/proc/${pid}/task/${pinned.tid}`)).toBe(true)
    await pool.close()
    expect(existsSync(`/proc/${pid}/task/${pinned.tid}`)).toBe(false)
    await pool.close()
  })
})

describe('pinning', () => {
  // The first thread of a process has the process's number.
  const allowed = affinityOf(process.pid, process.pid) ?? []

  onLinux('a thread is where it was told to be, and its starter is not moved', async () => {
    expect(allowed.length).toBeGreaterThan(0)
    for (const cpu of [allowed[0]!, allowed.at(-1)!]) {
      const { pid, pinned } = await ask<Where>(poolOf({ workerData: { cpus: [cpu] } }), { task: 'where' })
      expect(pinned).toEqual({ tid: expect.any(Number) as number, cpus: [cpu], error: null })
      expect(pid).toBe(process.pid)
      expect(pinned.tid).not.toBe(process.pid)
      expect(affinityOf(pid, pinned.tid)).toEqual([cpu])
    }
    expect(affinityOf(process.pid, process.pid)).toEqual(allowed)
  })

  onLinux('no list leaves a thread where it is', async () => {
    const { pinned } = await ask<Where>(poolOf(), { task: 'where' })
    expect([pinned.cpus, pinned.error]).toEqual([allowed, null])
  })

  onLinux('a CPU that is not there is told, and the thread works on', async () => {
    expect(allowed).not.toContain(1023)
    const { pinned } = await ask<Where>(poolOf({ workerData: { cpus: [1023] } }), { task: 'where' })
    expect(pinned.error).toMatch(/refused CPUs 1023/)
    expect(pinned.cpus).toEqual(allowed)
  })

  test('of a thread that is not there nothing is known', () => {
    expect(affinityOf(process.pid, 2 ** 30)).toBeNull()
  })
})
