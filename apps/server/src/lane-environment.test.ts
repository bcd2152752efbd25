import { flatTopology } from '@millrace/pool'
import { readConfig, type Config } from './config'
import { laneEnvironment } from './lane-environment'

const topology = { ...flatTopology([0, 1, 2, 3, 4, 5, 6, 7]), gpus: [null, null, null] }
const configOf = (env: Record<string, string>): Config =>
  readConfig(
    { MILLRACE_ARENA_BYTES: '1MiB', MILLRACE_SLAB_BYTES_MAX: '512KiB', MILLRACE_REQUEST_BYTES_MAX: '64KiB', ...env },
    { repository: 'models', topology },
  )

const tensorflow = { TF_NUM_INTEROP_THREADS: '-1', TF_NUM_INTRAOP_THREADS: '1', TF_CPP_MIN_LOG_LEVEL: '1' }

test('a lane without CUDA: engines stay on their thread, and see no GPU', () => {
  expect(laneEnvironment(configOf({}), 0, {})).toEqual({
    set: { ...tensorflow, CUDA_VISIBLE_DEVICES: '-1' },
    warnings: [],
  })
  const more = configOf({ MILLRACE_POOL_CPU_ENGINE_THREADS: '3' })
  expect(laneEnvironment(more, 0, { CUDA_VISIBLE_DEVICES: '0' })).toEqual({
    set: { ...tensorflow, TF_NUM_INTRAOP_THREADS: '3' },
    warnings: [],
  })
})

test('each lane has its CUDA device', () => {
  const config = configOf({ MILLRACE_POOLS: 'cpu,gpu', MILLRACE_POOL_GPU_DEVICE: 'cuda:0,2', MILLRACE_LANES: '4' })
  const device = (lane: number, env: NodeJS.ProcessEnv = {}): string | undefined =>
    laneEnvironment(config, lane, env).set['CUDA_VISIBLE_DEVICES']
  expect([0, 1, 2, 3].map((lane) => device(lane))).toEqual(['0', '2', '0', '2'])
  expect(laneEnvironment(config, 1, {}).set).toMatchObject({
    CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
  })
  // The numbers count what the operator lets this server see.
  expect([0, 1].map((lane) => device(lane, { CUDA_VISIBLE_DEVICES: '7, GPU-1f,5' }))).toEqual(['7', '5'])
})

test('what the operator set stays, and is told where it works against the configuration', () => {
  const config = configOf({ MILLRACE_POOL_CPU_DEVICE: 'cuda:0' })
  const env = {
    TF_NUM_INTEROP_THREADS: '4',
    TF_NUM_INTRAOP_THREADS: '1',
    TF_FORCE_GPU_ALLOW_GROWTH: 'false',
    CUDA_DEVICE_ORDER: 'FASTEST_FIRST',
    TF_CPP_MIN_LOG_LEVEL: '0',
  }
  const { set, warnings } = laneEnvironment(config, 0, env)
  expect(set).toEqual({ CUDA_VISIBLE_DEVICES: '0' })
  expect(warnings).toEqual([
    'TF_NUM_INTEROP_THREADS=4 is kept; -1 would be set, because each thread of a pool runs its own graph',
    'TF_FORCE_GPU_ALLOW_GROWTH=false is kept; true would be set, because else the first engine takes all memory of the device',
  ])
})
