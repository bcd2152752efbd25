import { availableParallelism } from 'node:os'
import { readQuota } from './cgroup'
import { cpusIn, namesIn, readCpuList, readNumber, readText } from './files'

export interface Cpu {
  /** The kernel's number. */
  readonly cpu: number
  /** NUMA node: the memory that is near. */
  readonly node: number
  readonly socket: number
  /** The lowest CPU of its core: CPUs of one core are hyper-thread siblings. */
  readonly core: number
}

/** The machine, as far as this process may use it. Plain data. */
export interface Topology {
  /** CPUs that are online and that this process may use, ascending; empty when nothing is known. */
  readonly cpus: readonly Cpu[]
  /** CPUs of the machine that are online. */
  readonly online: number
  /** CPU time that control groups allow, in CPUs; null without a limit. */
  readonly quota: number | null
  /** The NUMA node of each CUDA device, in the order of the PCI bus, null where unknown; null: devices are unknown. */
  readonly gpus: readonly (number | null)[] | null
}

/**
 * Reads /sys and /proc. What is missing is assumed plain: one node, one socket, cores without siblings, all CPUs.
 *
 * @param root folder that stands for `/`
 */
export function readTopology(root = '/'): Topology {
  const allowed = allowedCpus(root)
  const onlineList = readCpuList(root, 'sys/devices/system/cpu/online')
  const numbers = allowed ?? onlineList ?? firstCpus(availableParallelism())
  const online = onlineList ?? numbers
  const nodes = nodesOf(root)
  const cpus = numbers
    .filter((cpu) => online.includes(cpu))
    .map((cpu): Cpu => {
      const folder = `sys/devices/system/cpu/cpu${cpu}/topology`
      const siblings = readCpuList(root, folder, 'core_cpus_list') ?? readCpuList(root, folder, 'thread_siblings_list')
      const socket = readNumber(root, folder, 'physical_package_id') ?? 0
      // Some machines say -1 for one they do not know.
      return { cpu, node: nodes.get(cpu) ?? 0, socket: Math.max(0, socket), core: siblings?.[0] ?? cpu }
    })
  return { cpus, online: online.length, quota: readQuota(root), gpus: gpusOf(root) }
}

/** A machine of which only the CPUs are known: one node, cores without siblings, no limit. */
export function flatTopology(cpus: readonly number[]): Topology {
  return {
    cpus: cpus.map((cpu) => ({ cpu, node: 0, socket: 0, core: cpu })),
    online: cpus.length,
    quota: null,
    gpus: null,
  }
}

/** The mask that sched_getaffinity(2) answers: cpusets are part of it. */
function allowedCpus(root: string): number[] | null {
  return cpusIn(/^Cpus_allowed_list:\s*(\S+)$/m.exec(readText(root, 'proc/self/status') ?? '')?.[1])
}

function nodesOf(root: string): Map<number, number> {
  const folder = 'sys/devices/system/node'
  const nodes = namesIn(root, folder).filter((name) => /^node\d+$/.test(name))
  return new Map(
    nodes.flatMap((name) =>
      (readCpuList(root, folder, name, 'cpulist') ?? []).map((cpu): [number, number] => [cpu, Number(name.slice(4))]),
    ),
  )
}

/** NVIDIA's driver lists its devices by bus address; where only their files are given to a container, they count. */
function gpusOf(root: string): (number | null)[] | null {
  const addresses = namesIn(root, 'proc/driver/nvidia/gpus')
  if (addresses.length > 0)
    return addresses.map((address) => {
      const node = readNumber(root, 'sys/bus/pci/devices', address.toLowerCase(), 'numa_node')
      return node === null || node < 0 ? null : node
    })
  const files = namesIn(root, 'dev')
  // Windows hands its GPUs to Linux as one file, which says nothing of how many.
  if (files.length === 0 || files.includes('dxg')) return null
  return files.filter((name) => /^nvidia\d+$/.test(name)).map(() => null)
}

function firstCpus(count: number): number[] {
  return Array.from({ length: count }, (_, cpu) => cpu)
}
