import type { Cpu } from './topology'

/*
 * CPUs among lanes. The kernel gives connections to lanes evenly, so lanes must be alike: the number of CPUs comes
 * first, a node to itself second.
 */

/** CPUs that a lane needs: `least` for its engines, `wanted` with its front thread. */
export interface Need {
  readonly least: number
  readonly wanted: number
  /** It is all that they will take: then they need not have more CPUs than there are near. */
  readonly fixed: boolean
}

/**
 * The CPUs of each lane: parts that do not overlap, of whole cores and on one node, as far as every lane then has
 * what it needs. With more lanes than CPUs, the lanes of a node share its CPUs.
 *
 * @param homes by lane, the node that it should be on where that can be had
 */
export function partition(cpus: readonly Cpu[], lanes: number, need: Need, homes: readonly (number | null)[]): Cpu[][] {
  const nodes = groupBy(cpus, ({ node }) => node)
  if (nodes.length === 0) return Array.from({ length: lanes }, () => [])
  const near = need.fixed ? countsAtHome(nodes, lanes, need.wanted, homes) : null
  const counts = near ?? lanesByNode(nodes, lanes)
  const [byCore, byCpu] = [byNode(nodes, lanes, counts, coresOf), byNode(nodes, lanes, counts, singly)]
  const straddling = runs(nodes.flatMap(coresOf).flat(), lanes)
  const enough = (parts: Cpu[][], count: number): boolean => parts.every((part) => part.length >= count)
  const parts =
    [byCore, byCpu].find((one) => enough(one, need.wanted)) ??
    [byCore, byCpu, straddling].find((one) => enough(one, need.least)) ??
    byCore
  return giveHomes(parts, lanes, homes)
}

/**
 * The CPUs in the order in which they are taken: cores first, then their siblings, the sibling of the first core
 * last. On one node as long as `wanted` CPUs fit on one, which is `near` where that can be had; else `near` first.
 */
export function inOrder(cpus: readonly Cpu[], wanted: number, near: number | null): Cpu[] {
  const nodes = groupBy(cpus, ({ node }) => node)
  const [at, others] = [
    nodes.filter(([first]) => first!.node === near),
    nodes.filter(([first]) => first!.node !== near),
  ]
  const ordered = [...at, ...others]
  const home = ordered.find((node) => node.length >= wanted)
  if (home === undefined) return coresFirst(ordered)
  return [...coresFirst([home]), ...coresFirst(ordered.filter((node) => node !== home))]
}

/** One CPU of each core. */
export function withoutSiblings(cpus: readonly Cpu[]): Cpu[] {
  return coresOf(cpus).map(([first]) => first!)
}

function singly(cpus: readonly Cpu[]): Cpu[][] {
  return cpus.map((cpu) => [cpu])
}

export function coresOf(cpus: readonly Cpu[]): Cpu[][] {
  return groupBy(cpus, ({ core }) => core)
}

export function nodesOf(cpus: readonly Cpu[]): number[] {
  return groupBy(cpus, ({ node }) => node).map(([first]) => first!.node)
}

/** Every lane on its home, when all have one and it is large enough for them. */
function countsAtHome(
  nodes: readonly (readonly Cpu[])[],
  lanes: number,
  wanted: number,
  homes: readonly (number | null)[],
): number[] | null {
  const counts = nodes.map((node) => homes.filter((home) => home === node[0]!.node).length)
  const fits = nodes.every((node, n) => counts[n]! * wanted <= node.length)
  return fits && counts.reduce((sum, count) => sum + count, 0) === lanes ? counts : null
}

/** By node, how many lanes; none when there are fewer lanes than nodes. Lanes go, one after another, where most CPUs are left for each. */
function lanesByNode(nodes: readonly (readonly Cpu[])[], lanes: number): number[] {
  if (lanes < nodes.length) return []
  const counts = nodes.map(() => 0)
  for (let lane = 0; lane < lanes; lane++) {
    const shares = nodes.map((node, n) => node.length / (counts[n]! + 1))
    counts[shares.indexOf(Math.max(...shares))]!++
  }
  return counts
}

/** Lanes of one node each, or, when there are fewer, of whole nodes. */
function byNode(
  nodes: readonly (readonly Cpu[])[],
  lanes: number,
  counts: readonly number[],
  piecesOf: (node: readonly Cpu[]) => Cpu[][],
): Cpu[][] {
  if (counts.length === 0) return runs(nodes, lanes).map((some) => some.flat())
  return counts.flatMap((count, n) => {
    const [node, pieces] = [nodes[n]!, piecesOf(nodes[n]!)]
    if (pieces.length >= count) return runs(pieces, count).map((some) => some.flat())
    return node.length >= count ? runs(coresOf(node).flat(), count) : Array.from({ length: count }, () => [...node])
  })
}

/** Even, contiguous runs of `items`. */
function runs<T>(items: readonly T[], parts: number): T[][] {
  const begin = (part: number): number => Math.floor((part * items.length) / parts)
  return Array.from({ length: parts }, (_, part) => items.slice(begin(part), begin(part + 1)))
}

function giveHomes(parts: Cpu[][], lanes: number, homes: readonly (number | null)[]): Cpu[][] {
  const left = [...parts]
  const given = Array.from({ length: lanes }, (_, lane): Cpu[] | undefined => {
    const home = homes[lane] ?? null
    const at = home === null ? -1 : left.findIndex((part) => part.some(({ node }) => node === home))
    return at < 0 ? undefined : left.splice(at, 1)[0]
  })
  return given.map((part) => part ?? left.shift()!)
}

function coresFirst(nodes: readonly (readonly Cpu[])[]): Cpu[] {
  const cores = nodes.flatMap(coresOf)
  const depth = Math.max(0, ...cores.map((core) => core.length))
  const siblings = Array.from({ length: depth }, (_, rank) => cores.flatMap((core) => core[rank] ?? []))
  return siblings.flatMap((rank, r) => (r === 0 ? rank : [...rank.slice(1), ...rank.slice(0, 1)]))
}

/** In the order of the keys. */
function groupBy(cpus: readonly Cpu[], keyOf: (cpu: Cpu) => number): Cpu[][] {
  const groups = new Map<number, Cpu[]>()
  for (const cpu of cpus) {
    const group = groups.get(keyOf(cpu))
    if (group === undefined) groups.set(keyOf(cpu), [cpu])
    else group.push(cpu)
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group)
}
