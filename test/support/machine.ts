import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { formatCpus } from '@millrace/pool'

/* Machines made of files: what Linux shows of them under /sys and /proc. */

export type Files = Readonly<Record<string, string>>

/** A new folder of `parent` that stands for `/`. */
export function machine(parent: string, files: Files): string {
  const root = mkdtempSync(join(parent, 'machine-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), `${text}\n`)
  }
  return root
}

/** CPUs as Linux numbers them: the first of every core, socket by socket, then the siblings. */
export function cpuFiles(sockets: number, cores: number, perCore: number, nodesPerSocket = 1): Record<string, string> {
  const all = sockets * cores
  const files: Record<string, string> = { 'sys/devices/system/cpu/online': `0-${all * perCore - 1}` }
  const nodes = new Map<number, number[]>()
  for (let cpu = 0; cpu < all * perCore; cpu++) {
    const core = cpu % all
    const node = Math.floor((core * nodesPerSocket) / cores)
    nodes.set(node, [...(nodes.get(node) ?? []), cpu])
    const siblings = Array.from({ length: perCore }, (_, rank) => core + rank * all)
    const of = `sys/devices/system/cpu/cpu${cpu}/topology`
    files[`${of}/thread_siblings_list`] = formatCpus(siblings)
    files[`${of}/physical_package_id`] = String(Math.floor(core / cores))
  }
  for (const [node, cpus] of nodes) files[`sys/devices/system/node/node${node}/cpulist`] = formatCpus(cpus)
  return files
}

/** The CPUs that a process may run on. */
export function allowed(list: string): Files {
  return {
    'proc/self/status': `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${list}\nMems_allowed_list:\t0`,
  }
}

/** Control groups of version 2, with files of theirs by path. */
export function cgroups(group: string, files: Files, seenFrom = '/'): Files {
  return {
    'proc/self/cgroup': `0::${group}`,
    'proc/self/mountinfo': `30 23 0:26 ${seenFrom} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate`,
    ...Object.fromEntries(Object.entries(files).map(([path, text]) => [`sys/fs/cgroup/${path}`, text])),
  }
}
