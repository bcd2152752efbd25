import { readFileSync } from 'node:fs'
import { repositoryFolder } from '@millrace/demo'
import { affinityOf, readTopology, threadsOf } from '@millrace/pool'
import type { LaneSeats } from '@millrace/server'
import { describeWith } from '../support/extras'
import { message } from '../support/messages'
import { RawSocket } from '../support/raw-socket'
import { serve, stopServed, until, type Served } from '../support/served'

/* Where the threads of real lanes are, as the kernel tells. */

afterAll(stopServed)

const cpus = readTopology().cpus.map(({ cpu }) => cpu)
const onLinux = process.platform === 'linux' ? describe : describe.skip
const twoCpus = process.platform === 'linux' && cpus.length >= 2 ? test : test.skip

async function lanesOf(served: Served): Promise<LaneSeats[]> {
  const { status, body } = await served.admin('GET', '/v1/pools')
  expect(status).toBe(200)
  return (JSON.parse(body.toString('utf8')) as { lanes: LaneSeats[] }).lanes
}

/** Every thread of the lane's process, by its kernel's id. */
function affinities(pid: number): Map<number, string> {
  return new Map(threadsOf(pid).map((tid) => [tid, (affinityOf(pid, tid) ?? []).join()]))
}

onLinux('threads of lanes', () => {
  twoCpus('the front thread and each thread of the pool on a CPU of its own, all others on the lane', async () => {
    const served = await serve({ MILLRACE_PINNING: 'cpu' })
    const [lane] = (await lanesOf(served)) as [LaneSeats]
    const threads = lane.pools[0]!.threads
    expect(threads).toHaveLength(cpus.length - 1)
    expect(lane.front).toEqual({ tid: lane.pid, given: [cpus[0]], actual: [cpus[0]] })
    const taken = threads.map(({ actual }) => actual!)
    expect(taken.every((one) => one.length === 1)).toBe(true)
    expect([...lane.front.actual!, ...taken.flat()].sort((a, b) => a - b)).toEqual(cpus)

    // Not only what the lane says of itself.
    const real = affinities(lane.pid)
    expect(real.get(lane.pid)).toBe(String(cpus[0]))
    for (const { tid, given } of threads) expect(real.get(tid)).toBe(given.join())
    // Nobody but the front thread is on its CPU alone: V8, libuv and engines may use what is free.
    const own = new Set([lane.pid, ...threads.map(({ tid }) => tid)])
    const others = [...real].filter(([tid]) => !own.has(tid))
    expect(others.length).toBeGreaterThan(0)
    const onFront = others.filter(([, list]) => list === String(cpus[0]))
    expect(onFront).toEqual([])
    expect(served.logged.filter((line) => line.includes('not pinned'))).toEqual([])
  })

  twoCpus('two lanes share no CPU of their pools; front threads that have none to themselves are free', async () => {
    const lanes = Math.floor(cpus.length / 2) + 1
    const served = await serve({
      MILLRACE_PINNING: 'cpu',
      MILLRACE_LANES: String(Math.min(2, lanes)),
      MILLRACE_TRANSPORT: 'uws',
      MILLRACE_ARENA_BYTES: '32MiB',
    })
    const seats = await lanesOf(served)
    const taken = seats.flatMap(({ pools }) => pools.flatMap(({ threads }) => threads.flatMap(({ actual }) => actual!)))
    expect(new Set(taken).size).toBe(taken.length)
    for (const { front } of seats) expect(front.actual).toEqual(front.given)
  })

  twoCpus('what an engine starts stays on the CPUs of its worker', async () => {
    const list = cpus.slice(0, cpus.length > 2 ? 2 : 1)
    const served = await serve({
      MILLRACE_PINNING: 'cpu',
      MILLRACE_POOL_CPU_THREADS: '1',
      MILLRACE_POOL_CPU_ENGINE_THREADS: '2',
      MILLRACE_POOL_CPU_CPUS: list.join(),
    })
    const [lane] = (await lanesOf(served)) as [LaneSeats]
    const worker = lane.pools[0]!.threads[0]!
    expect(worker.actual).toEqual(list)
    const there = [...affinities(lane.pid)].filter(([, one]) => one === list.join()).map(([tid]) => tid)
    // The worker and the second thread of each session of onnxruntime; nothing else of the process is there.
    expect(there).toContain(worker.tid)
    expect(there).not.toContain(lane.pid)
    expect(there.length).toBeGreaterThan(1)
    const anywhere = lane.others.filter(({ actual }) => actual?.join() === cpus.join())
    expect(there.length + anywhere.length + 1).toBe(lane.others.length + 2)
  })

  test('one whose thread dies gives its seat to the next', async () => {
    const served = await serve({
      MILLRACE_PINNING: 'cpu',
      MILLRACE_POOL_CPU_CPUS: String(cpus[0]),
      MILLRACE_POOL_CPU_THREADS: '1',
    })
    const before = (await lanesOf(served))[0]!.pools[0]!.threads[0]!
    expect(before.actual).toEqual([cpus[0]])
    const socket = await RawSocket.open(served.server.port)
    socket.send(message('crash', { how: 'throw-outside', value: Int32Array.of(1) }))
    await until('another thread has the seat', async () => {
      const { tid, actual } = (await lanesOf(served))[0]!.pools[0]!.threads[0]!
      return (tid !== 0 && tid !== before.tid && actual?.join() === String(cpus[0])) || `${tid} on ${actual?.join()}`
    })
    await socket.close()
  })

  test('without pinning nothing is moved', async () => {
    const served = await serve({ MILLRACE_PINNING: 'off', MILLRACE_POOL_CPU_THREADS: '1' })
    const [lane] = (await lanesOf(served)) as [LaneSeats]
    expect(new Set(affinities(lane.pid).values())).toEqual(new Set([cpus.join()]))
    expect(lane.pools[0]!.threads[0]).toEqual({ tid: expect.any(Number) as number, given: [], actual: cpus })
  })
})

onLinux('what a lane is started with', () => {
  const before = process.env['CUDA_VISIBLE_DEVICES']
  afterEach(() => {
    if (before === undefined) delete process.env['CUDA_VISIBLE_DEVICES']
    else process.env['CUDA_VISIBLE_DEVICES'] = before
  })

  test('each lane sees the CUDA device that is its own, of those that the server sees', async () => {
    process.env['CUDA_VISIBLE_DEVICES'] = '5,GPU-1f'
    const served = await serve({
      CUDA_VISIBLE_DEVICES: '5,GPU-1f',
      MILLRACE_LANES: 'auto',
      MILLRACE_TRANSPORT: 'uws',
      MILLRACE_ARENA_BYTES: '32MiB',
      MILLRACE_POOLS: 'gpu,cpu',
      MILLRACE_POOL_GPU_DEVICE: 'cuda:0,1',
      MILLRACE_POOL_GPU_ENGINE_THREADS: '2',
    })
    const lanes = await served.server.snapshots()
    expect(lanes.map(({ pools }) => pools.map(({ device }) => device))).toEqual([
      ['cuda:0', 'cpu'],
      ['cuda:1', 'cpu'],
    ])
    const environments = lanes.map(({ pid }) => readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0'))
    for (const [lane, name] of ['5', 'GPU-1f'].entries())
      expect(environments[lane]).toEqual(
        expect.arrayContaining([
          `CUDA_VISIBLE_DEVICES=${name}`,
          'TF_FORCE_GPU_ALLOW_GROWTH=true',
          'TF_NUM_INTEROP_THREADS=-1',
          'TF_NUM_INTRAOP_THREADS=2',
        ]),
      )
    const page = (await served.admin('GET', '/metrics')).body.toString('utf8')
    expect(page).toContain('millrace_pool_threads{lane="1",pool="gpu",device="cuda:1",state="ready"} 1')
  })
})

describeWith('tensorflow')('TensorFlow, whose threads belong to the process', () => {
  twoCpus(
    'each worker computes on its own thread and CPU; its library has threads, and they have nothing to do',
    async () => {
      const env = { MILLRACE_PINNING: 'cpu', MILLRACE_POOL_CPU_THREADS: '2' }
      const served = await serve({ ...env, MILLRACE_POOL_CPU_ENGINES: 'tensorflow,onnxruntime' }, repositoryFolder)
      const [lane] = (await lanesOf(served)) as [LaneSeats]
      const workers = lane.pools[0]!.threads
      expect(new Set(workers.map(({ actual }) => actual!.join())).size).toBe(2)
      const before = ticksOf(lane.pid)
      const text = Array.from({ length: 32 }, (_, i) => `the quick brown fox jumps ${i} times over a lazy dog`)
      const client = served.client()
      const used = (tid: number): number => ticksOf(lane.pid).get(tid)!.ticks - (before.get(tid)?.ticks ?? 0)
      const enough = (): boolean => workers.every(({ tid }) => used(tid) >= 20)
      // Work until both have done some: how long that takes is the machine's business.
      while (!enough())
        await Promise.all(
          Array.from({ length: 8 }, () => client.score({ objective: 'sentence-embedding', inputs: { text } })),
        )
      const own = [...ticksOf(lane.pid)].filter(([, { name }]) => name.startsWith('tf_'))
      expect(own.length).toBeGreaterThan(0)
      const byLibrary = own.reduce((sum, [tid]) => sum + used(tid), 0)
      const byWorkers = workers.reduce((sum, { tid }) => sum + used(tid), 0)
      expect(byLibrary).toBeLessThan(byWorkers / 20)
      // What the library started, it started on the CPUs of a worker.
      const places = workers.map(({ actual }) => actual!.join())
      for (const [tid] of own) expect(places).toContain(affinityOf(lane.pid, tid)!.join())
    },
    60_000,
  )
})

/** The CPU time that each thread has used, in the kernel's hundredths of a second, by its id. */
function ticksOf(pid: number): Map<number, { readonly name: string; readonly ticks: number }> {
  return new Map(
    threadsOf(pid).map((tid) => {
      const stat = readFileSync(`/proc/${pid}/task/${tid}/stat`, 'utf8')
      const end = stat.lastIndexOf(')')
      const fields = stat.slice(end + 2).split(' ')
      return [tid, { name: stat.slice(stat.indexOf('(') + 1, end), ticks: Number(fields[11]) + Number(fields[12]) }]
    }),
  )
}
