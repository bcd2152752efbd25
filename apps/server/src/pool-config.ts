import { formatDevice, parseDevice, type Device, type PoolWish, type Seating, type Topology } from '@millrace/pool'
import { poolVariable } from './variables'

/* What the variables of the pools mean together: devices, CPUs, lanes. */

/** A pool as its variables say. */
export interface PoolVariables {
  readonly name: string
  readonly device: string
  readonly cpus: readonly number[]
  readonly threads: number | undefined
  readonly engineThreads: number
}

/** What is wished of the machine for a pool; a device that is none is the cpu, and a problem. */
export function wishOf(pool: PoolVariables, topology: Topology, problems: string[]): PoolWish {
  const variable = (part: string): string => poolVariable(pool.name, part)
  let device: Device = { kind: 'cpu', numbers: [] }
  try {
    device = parseDevice(pool.device)
  } catch (error) {
    problems.push(`${variable('DEVICE')}=${JSON.stringify(pool.device)}: ${(error as Error).message}`)
  }
  const ofDevice = device.kind === 'cpu' ? device.numbers : []
  const [apart, both] = [pool.cpus.join(), ofDevice.join()]
  if (apart !== '' && both !== '' && apart !== both)
    problems.push(
      `${variable('CPUS')}: is not what ${variable('DEVICE')}=${formatDevice(device)} says; set one of the two`,
    )
  const cpus = ofDevice.length > 0 ? ofDevice : pool.cpus
  const known = new Set(topology.cpus.map(({ cpu }) => cpu))
  const foreign = known.size === 0 ? [] : cpus.filter((cpu) => !known.has(cpu))
  if (foreign.length > 0)
    problems.push(
      `${variable(ofDevice.length > 0 ? 'DEVICE' : 'CPUS')}: this process may not use CPU ${foreign.join(', ')}`,
    )
  return {
    name: pool.name,
    device,
    // What is known to be wrong is not seated.
    cpus: cpus.filter((cpu) => known.has(cpu)),
    threads: pool.threads ?? null,
    engineThreads: pool.engineThreads,
  }
}

/**
 * A lane is a process, and a process sees one CUDA device: then engines that cannot choose need not, and one that
 * fails takes one lane.
 *
 * @param visible CUDA_VISIBLE_DEVICES of this process, whose places the numbers count
 */
export function checkCuda(
  pools: readonly PoolWish[],
  lanes: number,
  { gpus }: Topology,
  visible: string | undefined,
  problems: string[],
): void {
  const cuda = pools.filter(({ device }) => device.kind === 'cuda')
  const there = visible === undefined ? gpus?.length : cudaNames(visible).length
  for (const { name, device } of cuda) {
    const variable = `${poolVariable(name, 'DEVICE')}=${formatDevice(device)}`
    const missing = there === undefined ? [] : device.numbers.filter((number) => number >= there)
    const seen = visible === undefined ? 'this machine' : `CUDA_VISIBLE_DEVICES=${visible}`
    if (missing.length > 0)
      problems.push(`${variable}: ${seen} has ${there === 0 ? 'no CUDA device' : `CUDA devices 0 to ${there! - 1}`}`)
    const count = device.numbers.length
    if (lanes % count !== 0)
      problems.push(
        `${variable}: a lane has one CUDA device, and ${lanes} lanes do not share ${count} evenly: ` +
          `set MILLRACE_LANES=auto, ${count} or a multiple of it`,
      )
  }
  const [first, ...others] = cuda
  const other = others.find(({ device }) => device.numbers.join() !== first!.device.numbers.join())
  if (other !== undefined)
    problems.push(
      `${poolVariable(other.name, 'DEVICE')}: a lane has one CUDA device, which pool ${first!.name} says is ` +
        `${formatDevice(first!.device)}: give both pools the same devices, or each a server of its own`,
    )
}

/** A limit that nobody obeys is worse than none. */
export function checkMemory(
  pools: readonly (PoolWish & { readonly memory: number | null })[],
  problems: string[],
): void {
  for (const { name, device, memory } of pools)
    if (memory !== null && device.kind !== 'cuda')
      problems.push(`${poolVariable(name, 'MEMORY')}: ${formatDevice(device)} takes no memory limit; cuda does`)
}

/** onnxruntime keeps one WebGPU context a process, without a lock: two threads in it end the process. */
export function checkWebgpu(pools: readonly PoolWish[], problems: string[]): void {
  const webgpu = pools.filter(({ device }) => device.kind === 'webgpu')
  for (const { name, threads } of webgpu)
    if (threads !== null && threads > 1)
      problems.push(
        `${poolVariable(name, 'THREADS')}: ${threads}, but only one thread of a process can use webgpu; ` +
          'more lanes (MILLRACE_LANES) share the GPU',
      )
  if (webgpu.length > 1)
    problems.push(
      `${poolVariable(webgpu[1]!.name, 'DEVICE')}: pool ${webgpu[0]!.name} has webgpu, and one thread of a process can use it`,
    )
}

/** The devices of CUDA_VISIBLE_DEVICES, by number or name; those after one that is none do not count. */
export function cudaNames(visible: string): string[] {
  const names = visible.split(',').map((name) => name.trim())
  const end = names.findIndex((name) => name === '' || name.startsWith('-'))
  return end < 0 ? names : names.slice(0, end)
}

/** Too much that was asked for stops the start, unless it was meant; what follows from the machine is a warning. */
export function checkSeating(
  seating: Seating,
  pools: readonly PoolWish[],
  meant: boolean,
  problems: string[],
  warnings: string[],
): void {
  seating.oversubscribed.forEach((reason, p) => {
    if (reason === null) return
    const { name, threads, engineThreads } = pools[p]!
    const asked = threads !== null || engineThreads > 1
    const message = `${poolVariable(name, engineThreads > 1 ? 'ENGINE_THREADS' : 'THREADS')}: ${reason}`
    if (asked && !meant) problems.push(`${message}: set fewer, or MILLRACE_OVERSUBSCRIBE=yes`)
    else warnings.push(`${message}; they take turns`)
  })
  warnings.push(...seating.warnings)
}
