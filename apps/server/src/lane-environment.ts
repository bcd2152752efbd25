import { deviceOfLane, parseDevice } from '@millrace/pool'
import type { Config } from './config'
import { cudaNames } from './pool-config'

/*
 * Native libraries read their environment before the first line of ours runs: it is the supervisor that sets it, for
 * each lane. What the operator set himself stays.
 */

export interface LaneEnvironment {
  /** To be added to the environment of the lane's process. */
  readonly set: Readonly<Record<string, string>>
  /** What the operator set that works against the configuration. */
  readonly warnings: readonly string[]
}

export function laneEnvironment(config: Config, lane: number, env: NodeJS.ProcessEnv): LaneEnvironment {
  const warnings: string[] = []
  const set: Record<string, string> = {}
  const want = (name: string, value: string, because: string): void => {
    const there = env[name]
    if (there === undefined || there === '') set[name] = value
    else if (there !== value) warnings.push(`${name}=${there} is kept; ${value} would be set, because ${because}`)
  }
  const engineThreads = config.pools.map((pool) => pool.engineThreads)
  const most = Math.max(...engineThreads)
  // A pool of threads that the whole process shares would inherit the CPUs of the worker that came first.
  want('TF_NUM_INTEROP_THREADS', '-1', 'each thread of a pool runs its own graph')
  want('TF_NUM_INTRAOP_THREADS', String(most), 'it is MILLRACE_POOL_<NAME>_ENGINE_THREADS')
  // A dozen lines for each model that is loaded, none of which is a warning.
  if (env['TF_CPP_MIN_LOG_LEVEL'] === undefined) set['TF_CPP_MIN_LOG_LEVEL'] = '1'
  const devices = config.pools.map((pool) => deviceOfLane(parseDevice(pool.device), lane))
  const cuda = devices.find(({ kind }) => kind === 'cuda')
  const visible = env['CUDA_VISIBLE_DEVICES']
  if (cuda === undefined) {
    // TensorFlow's library for GPUs takes every GPU that it sees, whatever it is used for.
    if (visible === undefined) set['CUDA_VISIBLE_DEVICES'] = '-1'
    return { set, warnings }
  }
  const number = cuda.numbers[0]!
  set['CUDA_VISIBLE_DEVICES'] = visible === undefined ? String(number) : cudaNames(visible)[number]!
  // As nvidia-smi counts, not by speed.
  if (env['CUDA_DEVICE_ORDER'] === undefined) set['CUDA_DEVICE_ORDER'] = 'PCI_BUS_ID'
  want('TF_FORCE_GPU_ALLOW_GROWTH', 'true', 'else the first engine takes all memory of the device')
  return { set, warnings }
}
