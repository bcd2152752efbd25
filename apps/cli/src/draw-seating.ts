import { deviceOfLane, formatCpus, formatDevice, parseDevice, type Cpu, type Topology } from '@millrace/pool'
import type { Config, PoolConfig } from '@millrace/server'
import { table } from './output'

/* Who sits where, as text. */

const coresPerLine = 8

/** The machine in a line for each thing that limits it. */
export function describeMachine({ cpus, online, quota, gpus }: Topology): string {
  const nodes = new Set(cpus.map(({ node }) => node)).size
  const sockets = new Set(cpus.map(({ socket }) => socket)).size
  const cores = new Set(cpus.map(({ core }) => core)).size
  const lines = [
    ['machine', `${count(online, 'CPU')} online`],
    [
      'allowed',
      `CPUs ${formatCpus(cpus.map(({ cpu }) => cpu))}: ${count(cores, 'core')}, ${count(nodes, 'NUMA node')}, ${count(sockets, 'socket')}`,
    ],
    ['quota', quota === null ? 'none' : `${quota} CPUs' time, by control groups`],
    [
      'CUDA',
      gpus === null
        ? 'unknown'
        : gpus.length === 0
          ? 'none'
          : gpus.map((node, gpu) => `cuda:${gpu}${node === null ? '' : ` near node ${node}`}`).join(', '),
    ],
  ]
  return table(lines)
}

/**
 * A block for each node: cores beside each other, siblings below each other, and on each CPU who has it: F for a
 * front thread, the pool's letter for a thread, each with its lane; a point where nobody sits.
 */
export function drawNodes({ cpus }: Topology, { seating, pools }: Config): string {
  const letters = lettersOf(pools.map(({ name }) => name))
  const sits = new Map<number, string>()
  const put = (list: readonly number[], who: string): void => {
    for (const cpu of list) sits.set(cpu, sits.has(cpu) && sits.get(cpu) !== who ? `${sits.get(cpu)}+${who}` : who)
  }
  seating.lanes.forEach((lane, l) => {
    lane.pools.forEach((seats, p) => seats.forEach((seat) => put(seat, `${letters[p]}${l}`)))
    if (lane.front.join() !== lane.cpus.join() || lane.front.length === 1) put(lane.front, `F${l}`)
  })
  const cells = new Map(cpus.map(({ cpu }) => [cpu, `${cpu} ${sits.get(cpu) ?? '.'}`]))
  const width = Math.max(...[...cells.values()].map((cell) => cell.length)) + 2
  const blocks = [...groupBy(cpus, ({ node }) => node)].map(([node, inNode]) => {
    const cores = [...groupBy(inNode, ({ core }) => core).values()]
    const lines: string[] = []
    for (let at = 0; at < cores.length; at += coresPerLine) {
      const some = cores.slice(at, at + coresPerLine)
      const depth = Math.max(...some.map((core) => core.length))
      for (let rank = 0; rank < depth; rank++)
        lines.push(
          some.map((core) => (core[rank] === undefined ? '' : cells.get(core[rank]!.cpu)!).padEnd(width)).join(''),
        )
    }
    return lines.map((line, i) => `${(i === 0 ? `node ${node}` : '').padEnd(9)}${line.trimEnd()}`).join('\n')
  })
  const legend = pools.map(({ name }, p) => `${letters[p]}0 a thread of pool ${name}`)
  return [...blocks, `${' '.repeat(9)}F0 the front thread of lane 0, ${legend.join(', ')}, . nobody`].join('\n')
}

/** A row for each pool, then a row for each lane. */
export function listSeats(config: Config, engines: readonly string[]): string {
  const { pools, seating } = config
  const poolRows = pools.map((pool) => [
    pool.name,
    pool.device,
    String(pool.threads),
    String(pool.engineThreads),
    String(pool.inFlight),
    (pool.engines.length > 0 ? pool.engines : engines).join(', '),
  ])
  const laneRows = seating.lanes.map((lane, l) => [
    String(l),
    lane.nodes.join(',') || '-',
    anywhere(lane.cpus),
    anywhere(lane.front),
    lane.pools.map((seats, p) => `${poolIn(pools[p]!, l)}: ${seats.map(anywhere).join(' ')}`).join('; '),
  ])
  return [
    table([['pool', 'device', 'threads a lane', 'CPUs a thread', 'batches a thread', 'engines'], ...poolRows]),
    table([['lane', 'node', 'CPUs', 'front thread', 'threads'], ...laneRows]),
  ].join('\n\n')
}

/** What of the machine is left, and how firmly anybody sits. */
export function summarise({ seating, lanes, pools }: Config): string {
  const engines = pools.reduce((sum, { threads, engineThreads }) => sum + threads * engineThreads, 0) * lanes
  const how = {
    cpu: 'each thread on its own CPUs',
    lane: 'threads on the CPUs of their lane',
    node: 'threads on the NUMA nodes of their lane; MILLRACE_PINNING=cpu gives each its own CPUs',
    off: 'threads wherever the kernel puts them; MILLRACE_PINNING=cpu gives each its own CPUs',
  }[seating.pinning]
  const busy = lanes + engines > seating.cpus && seating.cpus > 0 ? ', which take turns' : ''
  const idle = seating.idle.length > 0 ? `; nobody sits on CPUs ${formatCpus(seating.idle)}` : ''
  return `${how}; ${count(lanes, 'front thread')} and ${count(engines, 'engine thread')} for ${count(seating.cpus, 'CPU')}${busy}${idle}`
}

export function anywhere(cpus: readonly number[] | null): string {
  if (cpus === null) return '?'
  return cpus.length === 0 ? 'any' : formatCpus(cpus)
}

export function count(n: number, thing: string): string {
  return `${n} ${thing}${n === 1 ? '' : 's'}`
}

/** The GPU that a lane has of a pool. */
function poolIn({ name, device }: PoolConfig, lane: number): string {
  const own = deviceOfLane(parseDevice(device), lane)
  return own.kind === 'cpu' ? name : `${name} on ${formatDevice(own)}`
}

/** For each pool a letter of its name that no other has; F is taken. */
function lettersOf(names: readonly string[]): string[] {
  const free = new Set('abcdefghijklmnopqrstuvwxyz0123456789')
  return names.map((name) => {
    const letter = [...name, ...free].find((one) => free.has(one)) ?? '?'
    free.delete(letter)
    return letter
  })
}

function groupBy(cpus: readonly Cpu[], keyOf: (cpu: Cpu) => number): Map<number, Cpu[]> {
  const groups = new Map<number, Cpu[]>()
  for (const cpu of cpus) groups.set(keyOf(cpu), [...(groups.get(keyOf(cpu)) ?? []), cpu])
  return new Map([...groups].sort(([a], [b]) => a - b))
}
