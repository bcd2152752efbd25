import { formatCpus } from './cpus'
import { inOrder, nodesOf } from './partition'
import type { Cpu, Topology } from './topology'
import {
  groupsOf,
  lanedGroups,
  lanesFor,
  meansOf,
  need,
  threadsFor,
  type LanedGroup,
  type Means,
  type Wishes,
} from './wishes'

/*
 * Who sits where: the CPUs of lanes, front threads and the threads of pools, as a function of the machine and of what
 * is wished. It reads nothing and pins nothing.
 */

export interface Seating {
  readonly lanes: readonly LaneSeating[]
  /** By pool, threads in each lane. */
  readonly threads: readonly number[]
  readonly pinning: 'cpu' | 'lane' | 'node' | 'off'
  /** CPUs that may be busy at once: all that are used, or what the quota allows. */
  readonly cpus: number
  /** CPUs with no seat on them. */
  readonly idle: readonly number[]
  /** By pool, what is too much for its CPUs; null when its engines have enough. */
  readonly oversubscribed: readonly (string | null)[]
  readonly warnings: readonly string[]
}

/** CPUs, ascending; an empty list stands for not pinned. */
export interface LaneSeating {
  /** Of every thread that has no seat. */
  readonly cpus: readonly number[]
  /** NUMA nodes that its seats are on. */
  readonly nodes: readonly number[]
  readonly front: readonly number[]
  /** By pool and thread. */
  readonly pools: readonly (readonly (readonly number[])[])[]
}

/** What a lane takes, before it is decided whether anything is pinned. */
interface Taken {
  readonly front: Cpu | null
  /** By pool: a list for each thread; null when there are not enough. */
  readonly pools: readonly (readonly (readonly Cpu[])[] | null)[]
}

export function seat(topology: Topology, wishes: Wishes): Seating {
  const means = meansOf(topology, wishes)
  const bare = groupsOf(topology, wishes, means)
  const lanes = lanesFor(bare, wishes, means)
  const groups = lanedGroups(bare, lanes, wishes, topology)
  const threads = threadsFor(groups, lanes, wishes, means)
  const all = Array.from({ length: lanes }, (_, lane) => lane)
  const taken = all.map((lane) => take(groups, lane, lanes, wishes, threads))
  const pinning = pinningOf(topology, wishes, means)
  // A quota says how much, not which: who pins by it may choose the CPUs that a neighbour chose by the same rule.
  const anywhere = means.limited && wishes.pinning === 'auto'
  const seated = new Set(taken.flatMap(({ front, pools }) => [front, ...pools.flat(2)]).map((cpu) => cpu?.cpu))
  const laneSeatings = all.map((lane) => laneOf(groups, lane, taken[lane]!, pinning, anywhere, threads))
  const oversubscribed = wishes.pools.map((_, p) => tooMuch(groups, p, lanes, wishes, threads, means))
  return {
    lanes: laneSeatings,
    threads,
    pinning,
    cpus: means.count,
    idle:
      pinning !== 'cpu' || means.limited ? [] : means.usable.map(({ cpu }) => cpu).filter((cpu) => !seated.has(cpu)),
    oversubscribed,
    warnings: warningsOf(wishes, means, laneSeatings),
  }
}

/** The front thread first, then the threads of each pool, each CPU once. */
function take(
  groups: readonly LanedGroup[],
  lane: number,
  lanes: number,
  wishes: Wishes,
  threads: readonly number[],
): Taken {
  const used = new Set<Cpu>()
  const pools: (Cpu[][] | null)[] = wishes.pools.map(() => null)
  let front: Cpu | null = null
  for (const group of groups) {
    // More lanes than CPUs have no part of their own.
    if (lanes > group.cpus.length) continue
    const engines = need(group, wishes, threads)
    const order = inOrder(
      group.parts[lane]!.filter((cpu) => !used.has(cpu)),
      engines + (group.fronts ? 1 : 0),
      group.homes[lane]!,
    )
    if (group.fronts && order.length > engines) used.add((front = order.shift()!))
    if (engines > order.length) continue
    // Those that feed a GPU first, as long as CPUs are near it.
    const fed = group.pools.filter((p) => wishes.pools[p]!.device.kind !== 'cpu')
    for (const p of [...fed, ...group.pools.filter((p) => !fed.includes(p))])
      pools[p] = Array.from({ length: threads[p]! }, () => order.splice(0, wishes.pools[p]!.engineThreads))
    for (const cpu of group.pools.flatMap((p) => pools[p]!.flat())) used.add(cpu)
  }
  return { front, pools }
}

/**
 * Each thread has its own CPU where the CPUs are ours: they were named, or the process was given a part of the machine.
 * Where others run too, a thread that may not move waits for them while another CPU is free: measured, it costs more
 * than it saves. What stays is that a lane is near its memory.
 */
function pinningOf({ cpus, online }: Topology, { pools, pinning }: Wishes, { limited }: Means): Seating['pinning'] {
  if (cpus.length === 0) return 'off'
  if (pinning !== 'auto') return pinning
  const named = pools.some((pool) => pool.cpus.length > 0)
  if (named || (!limited && cpus.length < online)) return 'cpu'
  return limited || nodesOf(cpus).length === 1 ? 'off' : 'node'
}

function laneOf(
  groups: readonly LanedGroup[],
  lane: number,
  { front, pools }: Taken,
  pinning: Seating['pinning'],
  anywhere: boolean,
  threads: readonly number[],
): LaneSeating {
  const seats = [front, ...pools.flat(2)].filter((cpu) => cpu !== null)
  const nodes = nodesOf(seats.length > 0 ? seats : groups.flatMap(({ parts }) => parts[lane]!))
  const partOf = (group: LanedGroup): readonly Cpu[] => {
    if (pinning === 'off' || (anywhere && group.fronts)) return []
    // A front thread without a CPU of its own goes where there is time, not where its own engines are busy.
    const wide = pinning === 'node' || (group.fronts && front === null)
    const part = wide ? group.cpus : group.parts[lane]!
    return pinning === 'lane' ? part : part.filter(({ node }) => nodes.includes(node))
  }
  const cpus = anywhere ? [] : numbersOf(groups.flatMap(partOf))
  return {
    cpus,
    nodes,
    front: pinning === 'cpu' && !anywhere && front !== null ? [front.cpu] : cpus,
    pools: pools.map((seats, p) => {
      const group = groups.find((one) => one.pools.includes(p))!
      const part = numbersOf(partOf(group))
      return Array.from({ length: threads[p]! }, (_, t) => {
        const own = pinning === 'cpu' && part.length > 0 ? seats?.[t] : undefined
        return own === undefined ? part : numbersOf(own)
      })
    }),
  }
}

function tooMuch(
  groups: readonly LanedGroup[],
  p: number,
  lanes: number,
  wishes: Wishes,
  threads: readonly number[],
  { count, limited }: Means,
): string | null {
  const group = groups.find((one) => one.pools.includes(p))!
  const each = need(group, wishes, threads)
  if (group.cpus.length === 0) return null
  const smallest = Math.min(...group.parts.map((part) => part.length))
  const there = limited && group.fronts ? count : group.cpus.length
  if (lanes * each <= there && each <= smallest) return null
  const { engineThreads } = wishes.pools[p]!
  const engine = engineThreads === 1 ? '' : ` of ${engineThreads} engine threads`
  const others = group.pools.length === 1 ? '' : ', with the other pools on these CPUs'
  const lane = lanes === 1 ? '' : ` in each of ${lanes} lanes`
  const list = limited && group.fronts ? 'the quota allows' : `CPUs ${formatCpus(numbersOf(group.cpus))} are`
  const some = threads[p] === 1 ? '1 thread' : `${threads[p]} threads`
  return `${some}${engine}${lane}${others} need ${lanes * each} CPUs; ${list} ${there}`
}

function warningsOf(wishes: Wishes, means: Means, lanes: readonly LaneSeating[]): string[] {
  const warnings: string[] = []
  const straddling = lanes.findIndex(({ nodes }) => nodes.length > 1)
  if (straddling >= 0)
    warnings.push(
      `lane ${straddling} straddles the NUMA nodes ${lanes[straddling]!.nodes.join(', ')}: ` +
        'more lanes (MILLRACE_LANES), or fewer threads, keep each on one',
    )
  if (means.limited && wishes.pinning !== 'auto' && wishes.pinning !== 'off')
    warnings.push(
      `MILLRACE_PINNING=${wishes.pinning}: a quota of ${means.count} CPUs limits this process; ` +
        'others on this machine may pin themselves to the same CPUs',
    )
  wishes.pools.forEach((pool, p) => {
    const other = wishes.pools.slice(0, p).find(({ cpus }) => {
      return formatCpus(cpus) !== formatCpus(pool.cpus) && cpus.some((cpu) => pool.cpus.includes(cpu))
    })
    if (other === undefined) return
    const shared = pool.cpus.filter((cpu) => other.cpus.includes(cpu))
    warnings.push(
      `pools ${other.name} and ${pool.name} have CPUs ${formatCpus(shared)} in common, and other CPUs apart`,
    )
  })
  return warnings
}

function numbersOf(cpus: readonly Cpu[]): number[] {
  return [...new Set(cpus.map(({ cpu }) => cpu))].sort((a, b) => a - b)
}
