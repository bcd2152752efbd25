import fc from 'fast-check'
import {
  flatTopology,
  parseDevice,
  seat,
  type Cpu,
  type PoolWish,
  type Seating,
  type Topology,
  type Wishes,
} from './index'

interface Box {
  readonly sockets: number
  readonly nodes: number
  readonly cores: number
  readonly perCore: number
}

/** CPUs as Linux numbers them: the first of every core, node by node, then the siblings. */
function box({ sockets, nodes, cores, perCore }: Box): Topology {
  const all = sockets * nodes * cores
  const cpus = Array.from({ length: all * perCore }, (_, cpu): Cpu => {
    const core = cpu % all
    return { cpu, core, node: Math.floor(core / cores), socket: Math.floor(core / cores / nodes) }
  })
  return { cpus, online: cpus.length, quota: null, gpus: null }
}

const pool = (wish: Partial<PoolWish> = {}): PoolWish => ({
  name: 'cpu',
  device: parseDevice('cpu'),
  cpus: [],
  threads: null,
  engineThreads: 1,
  ...wish,
})
const wish = (wishes: Partial<Wishes> = {}): Wishes => ({
  lanes: 'auto',
  siblings: 'last',
  pinning: 'cpu',
  pools: [pool()],
  ...wishes,
})

const laptop = box({ sockets: 1, nodes: 1, cores: 8, perCore: 1 })
const server = box({ sockets: 2, nodes: 1, cores: 16, perCore: 2 })
const epyc = box({ sockets: 2, nodes: 4, cores: 8, perCore: 2 })

describe('machines', () => {
  test('a laptop: one lane has the front on a CPU of its own, and a thread on every other', () => {
    const { lanes, threads, pinning, idle } = seat(laptop, wish({ lanes: 1 }))
    expect([threads, pinning, idle]).toEqual([[7], 'cpu', []])
    expect(lanes).toEqual([
      { cpus: [0, 1, 2, 3, 4, 5, 6, 7], nodes: [0], front: [0], pools: [[[1], [2], [3], [4], [5], [6], [7]]] },
    ])
  })

  test('lanes by themselves: two cores each, siblings after cores, none over two nodes', () => {
    const { lanes, threads, warnings } = seat(server, wish())
    expect([lanes.length, threads, warnings]).toEqual([16, [3], []])
    expect(lanes[1]).toEqual({ cpus: [2, 3, 34, 35], nodes: [0], front: [2], pools: [[[3], [35], [34]]] })
    expect(lanes[8]!.front).toEqual([16])
    expect(lanes.map(({ nodes }) => nodes)).toEqual([...Array(8).fill([0]), ...Array(8).fill([1])])
  })

  test('siblings left out: half of the threads, each on a core', () => {
    const { threads, lanes, cpus } = seat(server, wish({ lanes: 2, siblings: 'out' }))
    expect([threads, cpus]).toEqual([[15], 32])
    expect(
      lanes
        .flatMap(({ front, pools }) => [front, ...pools.flat()])
        .flat()
        .every((cpu) => cpu < 32),
    ).toBe(true)
  })

  test('eight nodes: a lane for each has all of it', () => {
    const { lanes, threads } = seat(epyc, wish({ lanes: 8 }))
    expect(threads).toEqual([15])
    expect(lanes.map(({ nodes }) => nodes)).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((node) => [node]))
  })

  test('a lane that needs more than a node says so; one that does not stays on one', () => {
    expect(seat(server, wish({ lanes: 1 })).warnings).toEqual([
      'lane 0 straddles the NUMA nodes 0, 1: more lanes (MILLRACE_LANES), or fewer threads, keep each on one',
    ])
    const small = seat(server, wish({ lanes: 1, pools: [pool({ threads: 20 })] }))
    expect([small.warnings, small.lanes[0]!.nodes]).toEqual([[], [0]])
    expect(small.lanes[0]!.cpus.every((cpu) => cpu % 32 < 16)).toBe(true)
  })

  test('a quota says how many, not which', () => {
    const container = { ...box({ sockets: 2, nodes: 1, cores: 32, perCore: 1 }), quota: 2.7 }
    const { cpus, threads, lanes, pinning } = seat(container, wish({ pinning: 'auto' }))
    expect([cpus, threads, pinning]).toEqual([2, [1], 'off'])
    expect(lanes).toEqual([{ cpus: [], nodes: [0], front: [], pools: [[[]]] }])
    expect(seat({ ...container, quota: 0.5 }, wish()).cpus).toBe(1)
    expect(seat(container, wish()).warnings).toEqual([
      expect.stringMatching(/MILLRACE_PINNING=cpu: a quota of 2 CPUs limits this process/),
    ])
    const named = seat(container, wish({ pinning: 'auto', pools: [pool({ cpus: [4, 5] })] }))
    expect(named.lanes).toMatchObject([{ front: [], pools: [[[4]]] }])
  })

  test('by itself nobody is nailed to a CPU that others may use', () => {
    const auto = (topology: Topology, wishes: Partial<Wishes> = {}): Seating =>
      seat(topology, wish({ lanes: 2, pinning: 'auto', ...wishes }))
    expect(auto(laptop)).toMatchObject({
      pinning: 'off',
      lanes: [
        { cpus: [], front: [] },
        { cpus: [], front: [] },
      ],
    })
    // Where memory is near to some CPUs and far from others, a lane stays with its own.
    const { pinning, lanes } = auto(server)
    expect(pinning).toBe('node')
    for (const [node, lane] of lanes.entries()) {
      const near = server.cpus.filter((one) => one.node === node).map(({ cpu }) => cpu)
      expect(lane).toMatchObject({ cpus: near, front: near, nodes: [node] })
      for (const seat of lane.pools[0]!) expect(seat).toEqual(near)
    }
    // CPUs that are given are ours: by a cpuset, or by name.
    expect(auto({ ...laptop, online: 16 }).pinning).toBe('cpu')
    expect(auto(laptop, { lanes: 1, pools: [pool({ cpus: [4, 5] })] }).lanes[0]).toMatchObject({
      front: [0],
      pools: [[[4], [5]]],
    })
    expect(auto(server, { pinning: 'off' }).lanes[0]).toMatchObject({ cpus: [], front: [] })
    const { lanes: bound } = auto(laptop, { pinning: 'lane' })
    expect(bound.map(({ cpus, front, pools }) => [cpus, front, pools[0]![0]])).toEqual([
      [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
        [0, 1, 2, 3],
      ],
      [
        [4, 5, 6, 7],
        [4, 5, 6, 7],
        [4, 5, 6, 7],
      ],
    ])
  })

  test('two CPUs: one lane has both; two lanes let their front threads go; three share', () => {
    const two = flatTopology([0, 1])
    expect(seat(two, wish()).lanes).toEqual([{ cpus: [0, 1], nodes: [0], front: [0], pools: [[[1]]] }])
    expect(seat(two, wish({ lanes: 2 })).lanes.map(({ front, pools }) => [front, pools])).toEqual([
      [[0, 1], [[[0]]]],
      [[0, 1], [[[1]]]],
    ])
    const three = seat(two, wish({ lanes: 3 }))
    expect(three.lanes.map(({ pools }) => pools)).toEqual(Array(3).fill([[[0, 1]]]))
    expect(three.oversubscribed).toEqual(['1 thread in each of 3 lanes need 3 CPUs; CPUs 0-1 are 2'])
  })

  test('nothing known: one lane, one thread, nothing pinned, nothing refused', () => {
    expect(seat(flatTopology([]), wish())).toMatchObject({
      lanes: [{ cpus: [], front: [], pools: [[[]]] }],
      threads: [1],
      pinning: 'off',
      oversubscribed: [null],
    })
  })

  test('an engine that uses several CPUs has them for itself', () => {
    const { lanes, threads } = seat(laptop, wish({ lanes: 1, pools: [pool({ engineThreads: 3 })] }))
    expect([threads, lanes[0]!.pools]).toEqual([
      [2],
      [
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
      ],
    ])
    const tooMany = seat(laptop, wish({ lanes: 2, pools: [pool({ engineThreads: 4, threads: 2 })] }))
    expect(tooMany.oversubscribed).toEqual([
      '2 threads of 4 engine threads in each of 2 lanes need 16 CPUs; CPUs 0-7 are 8',
    ])
  })

  test('pools share what is left, a GPU needs one thread; the same list is one list', () => {
    const gpu = pool({ name: 'gpu', device: parseDevice('webgpu:0') })
    const { threads, lanes } = seat(laptop, wish({ lanes: 1, pools: [pool(), pool({ name: 'b' }), gpu] }))
    expect(threads).toEqual([3, 3, 1])
    expect(new Set(lanes[0]!.pools.flat(2)).size).toBe(7)
    const list = [0, 1, 2, 3]
    const listed = seat(laptop, wish({ lanes: 1, pools: [pool({ cpus: list }), pool({ name: 'b', cpus: list })] }))
    expect(listed.lanes[0]).toMatchObject({
      front: [4],
      pools: [
        [[0], [1]],
        [[2], [3]],
      ],
    })
    const across = [pool({ cpus: [0, 1] }), pool({ name: 'b', cpus: [1, 2] })]
    expect(seat(laptop, wish({ pools: across })).warnings).toEqual([
      'pools cpu and b have CPUs 1 in common, and other CPUs apart',
    ])
  })

  test('a lane for each CUDA device, near it', () => {
    const cuda = pool({ name: 'gpu', device: parseDevice('cuda:0-3') })
    const near = seat({ ...server, gpus: [1, 1, 0, 0] }, wish({ pools: [cuda] }))
    expect(near.lanes.map(({ nodes }) => nodes)).toEqual([[1], [1], [0], [0]])
    const one = seat({ ...server, gpus: [1] }, wish({ pools: [pool({ device: parseDevice('cuda:0'), threads: 2 })] }))
    expect([one.lanes.map(({ nodes }) => nodes), one.threads]).toEqual([[[1]], [2]])
    // Beside a pool that takes all there is, nothing is left idle for the sake of being near.
    const mixed = seat(
      { ...server, gpus: [1] },
      wish({ pools: [pool({ name: 'gpu', device: parseDevice('cuda:0') }), pool()] }),
    )
    expect([mixed.threads, mixed.idle, mixed.lanes[0]!.front, mixed.lanes[0]!.pools[0]]).toEqual([
      [1, 62],
      [],
      [16],
      [[17]],
    ])
  })
})

const topologies = fc
  .tuple(
    fc.record({
      sockets: fc.integer({ min: 1, max: 2 }),
      nodes: fc.integer({ min: 1, max: 4 }),
      cores: fc.integer({ min: 1, max: 8 }),
      perCore: fc.integer({ min: 1, max: 2 }),
    }),
    fc.infiniteStream(fc.nat(9)),
    fc.boolean(),
  )
  .map(([parts, dice, whole]): Topology => {
    const full = box(parts)
    // A tenth of the CPUs is not ours.
    const cpus = whole ? full.cpus : full.cpus.filter(() => dice.next().value! > 0)
    return cpus.length === 0 ? full : { ...full, cpus }
  })
const wishes = fc
  .record({
    lanes: fc.oneof(fc.constant('auto' as const), fc.integer({ min: 1, max: 40 })),
    siblings: fc.constantFrom('last' as const, 'out' as const),
    pinning: fc.constant('cpu' as const),
    pools: fc.array(
      fc.record({
        threads: fc.oneof(fc.constant(null), fc.integer({ min: 1, max: 6 })),
        engineThreads: fc.integer({ min: 1, max: 4 }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
  })
  .map((one): Wishes => ({ ...one, pools: one.pools.map((some, p) => pool({ ...some, name: `p${p}` })) }))

function usable({ cpus }: Topology, { siblings }: Wishes): Cpu[] {
  return cpus.filter(({ core }, i) => siblings === 'last' || cpus.findIndex((other) => other.core === core) === i)
}

function engineSeats({ lanes }: Seating): number[] {
  return lanes.flatMap(({ pools }) => pools.flat(2))
}

const check = (property: (topology: Topology, wishes: Wishes, seating: Seating) => void): void =>
  fc.assert(
    fc.property(topologies, wishes, (topology, wishes) => property(topology, wishes, seat(topology, wishes))),
    { seed: 1, numRuns: 500 },
  )

describe('always', () => {
  test('only CPUs that may be used; every thread has as many as its engine uses, or its part of them', () => {
    check((topology, wishes, seating) => {
      const ours = new Set(usable(topology, wishes).map(({ cpu }) => cpu))
      const within = (cpus: readonly number[], all: ReadonlySet<number>): boolean => cpus.every((cpu) => all.has(cpu))
      for (const { cpus, front, pools } of seating.lanes) {
        expect(within([...cpus, ...front], ours)).toBe(true)
        expect(within(pools.flat(2), new Set(cpus))).toBe(true)
        expect(pools.map((seats) => seats.length)).toEqual(seating.threads)
        expect(pools.flat().every((cpus) => cpus.length > 0)).toBe(true)
      }
      expect(within(seating.idle, ours)).toBe(true)
    })
  })

  test('no CPU is used twice when there are enough; when there are not, it is said', () => {
    check((topology, wishes, seating) => {
      const there = usable(topology, wishes).length
      const needed =
        seating.lanes.length *
        wishes.pools.reduce((n, { engineThreads }, p) => n + seating.threads[p]! * engineThreads, 0)
      if (needed > there) return expect(seating.oversubscribed).not.toContain(null)
      const seats = engineSeats(seating)
      expect(seats).toHaveLength(needed)
      expect(new Set(seats).size).toBe(needed)
      expect(seating.oversubscribed.every((reason) => reason === null)).toBe(true)
    })
  })

  test('a front thread is alone on its CPU, or not nailed to one while others are free', () => {
    check((_, __, seating) => {
      const seats = engineSeats(seating)
      const fronts = seating.lanes.map(({ front }) => front)
      for (const [lane, front] of fronts.entries()) {
        const engines = seating.lanes[lane]!.pools.flat(2)
        if (front.length === 1 && seating.lanes[lane]!.cpus.length > 1) {
          expect(seats).not.toContain(front[0])
          expect(fronts.filter((other) => other.join() === front.join())).toHaveLength(1)
        } else expect(engines.every((cpu) => front.includes(cpu))).toBe(true)
      }
    })
  })

  test('threads that nobody counted never take more than there is', () => {
    check((topology, wishes, seating) => {
      if (wishes.lanes !== 'auto' || wishes.pools.some(({ threads }) => threads !== null)) return
      const there = usable(topology, wishes).length
      const least = wishes.pools.reduce((n, { engineThreads }) => n + engineThreads, 0)
      if (least <= there) expect(seating.oversubscribed.every((reason) => reason === null)).toBe(true)
    })
  })

  test('a lane is on one node when the lanes of equal nodes can be', () => {
    check((topology, wishes, seating) => {
      const nodes = new Map<number, number>()
      for (const { node } of usable(topology, wishes)) nodes.set(node, (nodes.get(node) ?? 0) + 1)
      const each = wishes.pools.reduce((n, { engineThreads }, p) => n + seating.threads[p]! * engineThreads, 0)
      const lanesOfNode = Math.ceil(seating.lanes.length / nodes.size)
      const equal = new Set(nodes.values()).size === 1
      if (!equal || lanesOfNode * (each + 1) > Math.min(...nodes.values())) return
      for (const lane of seating.lanes) expect(lane.nodes).toHaveLength(1)
      expect(seating.warnings).toEqual([])
    })
  })

  test('cores come before siblings', () => {
    check((topology, _, seating) => {
      for (const { pools, front, cpus } of seating.lanes) {
        const seats = [...front, ...pools.flat(2)]
        if (seating.oversubscribed[0] !== null || front.length > 1 || new Set(seats).size < seats.length) continue
        const coreOf = (cpu: number): number => topology.cpus.find((one) => one.cpu === cpu)!.core
        const cores = new Set(cpus.map(coreOf))
        const used = new Set(seats.map(coreOf))
        if (used.size < cores.size) expect(used.size).toBe(seats.length)
      }
    })
  })

  test('plain data', () => {
    check((_, __, seating) => expect(JSON.parse(JSON.stringify(seating))).toEqual(seating))
  })
})
