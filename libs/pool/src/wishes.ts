import { formatCpus } from './cpus'
import { deviceOfLane, type Device } from './devices'
import { coresOf, partition, withoutSiblings } from './partition'
import type { Cpu, Topology } from './topology'

/* What is wished of a machine, and how many lanes and threads that makes. */

export interface PoolWish {
  readonly name: string
  readonly device: Device
  /** CPUs that its threads are to have, which this process may use; empty: any. */
  readonly cpus: readonly number[]
  /** In each lane; null: as many as there are CPUs for, 1 for a GPU. */
  readonly threads: number | null
  /** CPUs that the engine of one thread uses. */
  readonly engineThreads: number
}

export interface Wishes {
  readonly lanes: number | 'auto'
  readonly pools: readonly PoolWish[]
  /** Hyper-thread siblings: taken when every core is, or not at all. */
  readonly siblings: 'last' | 'out'
  /** Each thread has its own CPUs, those of its lane, those of its lane's NUMA nodes, or runs anywhere. */
  readonly pinning: 'auto' | 'cpu' | 'lane' | 'node' | 'off'
}

/** Pools that draw from the same CPUs. */
export interface Group {
  readonly cpus: readonly Cpu[]
  /** Indexes of its pools. */
  readonly pools: readonly number[]
  /** The front threads sit here. */
  readonly fronts: boolean
}

export interface LanedGroup extends Group {
  /** By lane. */
  readonly parts: readonly (readonly Cpu[])[]
  /** By lane, the node that it should be near; null: any. */
  readonly homes: readonly (number | null)[]
}

/** What the machine gives: CPUs that may be busy at once, less than `usable` when a quota says so. */
export interface Means {
  readonly usable: readonly Cpu[]
  readonly count: number
  readonly limited: boolean
}

const lanesMax = 1024

export function meansOf({ cpus, quota }: Topology, { siblings }: Wishes): Means {
  const usable = siblings === 'out' ? withoutSiblings(cpus) : cpus
  // A part of a CPU is left alone: a thread that runs over the quota is stopped for the rest of the period.
  const allowed = quota === null ? usable.length : Math.max(1, Math.floor(quota))
  return { usable, count: Math.min(usable.length, allowed), limited: allowed < usable.length }
}

/** Pools with the same list of CPUs share it; those without share what is on no list, or, if that is nothing, all. */
export function groupsOf({ cpus }: Topology, { pools }: Wishes, { usable }: Means): Group[] {
  const lists = new Map<string, number[]>()
  pools.forEach((pool, p) => {
    const key = formatCpus(pool.cpus)
    lists.set(key, [...(lists.get(key) ?? []), p])
  })
  const listed = new Set(pools.flatMap((pool) => pool.cpus))
  const rest = usable.filter(({ cpu }) => !listed.has(cpu))
  const unlisted = lists.get('') ?? []
  lists.delete('')
  const groups = [...lists.values()].map((some, g): Group => {
    const own = cpus.filter(({ cpu }) => pools[some[0]!]!.cpus.includes(cpu))
    return { cpus: own, pools: some, fronts: g === 0 && rest.length === 0 && unlisted.length === 0 }
  })
  if (rest.length === 0 && unlisted.length === 0) return groups
  return [{ cpus: rest.length > 0 ? rest : usable, pools: unlisted, fronts: true }, ...groups]
}

/** CPUs that the engines of a group need in each lane; threads that are not known yet count as one. */
export function need(group: Group, { pools }: Wishes, threads: readonly (number | null)[]): number {
  return group.pools.reduce((sum, p) => sum + (threads[p] ?? 1) * pools[p]!.engineThreads, 0)
}

/** As many lanes as have a core for the front thread and for each engine thread; a lane for each CUDA device. */
export function lanesFor(groups: readonly Group[], wishes: Wishes, { count, limited }: Means): number {
  if (wishes.lanes !== 'auto') return wishes.lanes
  const devices = wishes.pools.filter(({ device }) => device.kind === 'cuda').map(({ device }) => device.numbers.length)
  if (devices.length > 0) return Math.max(...devices)
  const lanes = groups.map((group) => {
    const each = need(group, wishes, threadsWished(wishes)) + (group.fronts || limited ? 1 : 0)
    if (limited) return Math.floor(count / each)
    const nodes = new Map<number, number>()
    for (const [first] of coresOf(group.cpus)) nodes.set(first!.node, (nodes.get(first!.node) ?? 0) + 1)
    return [...nodes.values()].reduce((sum, cores) => sum + Math.floor(cores / each), 0)
  })
  return Math.min(lanesMax, Math.max(1, Math.min(...lanes)))
}

/** The CPUs of each lane; near its CUDA device, else near the CPUs it has already. */
export function lanedGroups(groups: readonly Group[], lanes: number, wishes: Wishes, topology: Topology): LanedGroup[] {
  const homes = Array.from({ length: lanes }, (_, lane): number | null => {
    const cuda = wishes.pools.find(({ device }) => device.kind === 'cuda')?.device
    return cuda === undefined ? null : (topology.gpus?.[deviceOfLane(cuda, lane).numbers[0]!] ?? null)
  })
  const laned: LanedGroup[] = []
  // Those with a list first: front threads follow them.
  for (const group of [...groups].reverse()) {
    const threads = threadsWished(wishes)
    const least = need(group, wishes, threads)
    const wanted = least + (group.fronts ? 1 : 0)
    const fixed = group.pools.every((p) => threads[p] !== null)
    const parts = partition(group.cpus, lanes, { least, wanted, fixed }, homes)
    laned.unshift({ ...group, parts, homes: [...homes] })
    parts.forEach((part, lane) => (homes[lane] ??= part[0]?.node ?? null))
  }
  return laned
}

/** By pool, threads in each lane: what is wished, else an even share of what is left in the smallest lane. */
export function threadsFor(groups: readonly LanedGroup[], lanes: number, wishes: Wishes, means: Means): number[] {
  const threads = threadsWished(wishes)
  for (const group of groups) {
    const open = group.pools.filter((p) => threads[p] === null)
    const smallest = lanes > group.cpus.length ? 1 : Math.min(...group.parts.map((part) => part.length))
    const share = means.limited ? Math.min(smallest, Math.floor(means.count / lanes)) : smallest
    const taken = need({ ...group, pools: group.pools.filter((p) => threads[p] !== null) }, wishes, threads)
    // Time is for front threads too, wherever they sit.
    const left = share - taken - (group.fronts || means.limited ? 1 : 0)
    for (const p of open) threads[p] = Math.max(1, Math.floor(left / open.length / wishes.pools[p]!.engineThreads))
  }
  return threads as number[]
}

/** A thread of a GPU waits for its device most of the time: one is enough unless more are asked for. */
function threadsWished({ pools }: Wishes): (number | null)[] {
  return pools.map(({ threads, device }) => threads ?? (device.kind === 'cpu' ? null : 1))
}
