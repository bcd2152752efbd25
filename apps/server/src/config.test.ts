import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { flatTopology, type Topology } from '@millrace/pool'
import { ConfigError, describeConfig, readConfig } from './config'
import { descriptorsAllowed } from './descriptors'
import { memoryPlan, bytesOf } from './memory-plan'

const topology = flatTopology([0, 1, 2, 3])
const defaults = { repository: 'models', topology }
// Small, so that the check against the memory of the machine says nothing.
const small = { MILLRACE_ARENA_BYTES: '32MiB' }

test('defaults', () => {
  const config = readConfig(small, defaults)
  expect(config).toMatchObject({ port: 8080, lanes: 1, arenaBytes: 2 ** 25, repository: 'models' })
  expect(config.pools).toEqual([
    {
      name: 'cpu',
      device: 'cpu',
      cpus: [],
      threads: 3,
      engineThreads: 1,
      inFlight: 2,
      engines: [],
      workflows: [],
      memory: null,
      batch: null,
      batchWaitUs: null,
    },
  ])
  expect(JSON.parse(JSON.stringify(config))).toEqual(config)
})

test('pools, lanes, lists', () => {
  const env = { ...small, MILLRACE_POOLS: 'cpu,big-one', MILLRACE_POOL_BIG_ONE_CPUS: '1-2' }
  const config = readConfig(env, defaults)
  expect(config.pools[1]).toMatchObject({ name: 'big-one', cpus: [1, 2], threads: 2 })
  expect(config.seating.lanes).toEqual([{ cpus: [0, 1, 2, 3], nodes: [0], front: [0], pools: [[[3]], [[1], [2]]] }])
  const rows = describeConfig(config, env)
  expect(rows.find((row) => row.name === 'MILLRACE_POOL_BIG_ONE_CPUS')).toMatchObject({
    value: '1,2',
    source: 'environment',
  })
  expect(rows.find((row) => row.name === 'MILLRACE_PORT')).toMatchObject({ value: '8080', source: 'default' })
})

test('engines that do not exist, one port for two', () => {
  const env = {
    ...small,
    MILLRACE_POOL_CPU_ENGINES: 'tfjs,tensorrt',
    MILLRACE_PORT: '9000',
    MILLRACE_ADMIN_PORT: '9000',
  }
  expect(() => readConfig(env, defaults)).toThrow(
    /MILLRACE_POOL_CPU_ENGINES="tfjs,tensorrt": tensorrt is none of onnxruntime, tensorflow, tfjs[^]*MILLRACE_ADMIN_PORT: is MILLRACE_PORT as well/,
  )
})

test('every problem at once, with the nearest name', () => {
  const env = {
    ...small,
    MILLRACE_PROT: '1',
    MILLRACE_PORT: 'x',
    MILLRACE_POOL_CPU_DEVICE: 'cuda:x',
    MILLRACE_SLAB_BYTES_MAX: '32MiB',
  }
  let error: unknown
  try {
    readConfig(env, defaults)
  } catch (thrown) {
    error = thrown
  }
  expect(error).toBeInstanceOf(ConfigError)
  const problems = (error as ConfigError).problems
  expect(problems).toHaveLength(4)
  expect(problems.join('\n')).toMatch(/MILLRACE_PROT: .* MILLRACE_PORT/)
  expect(problems.join('\n')).toMatch(/MILLRACE_POOL_CPU_DEVICE="cuda:x": 'cuda:x' is not a cuda device such as cuda:0/)
})

test('webgpu has one thread of a process, and sizes of batches are looked for on GPUs', () => {
  const gpu = { ...small, MILLRACE_POOLS: 'cpu,gpu', MILLRACE_POOL_GPU_DEVICE: 'webgpu' }
  expect(readConfig(gpu, defaults).pools).toMatchObject([
    { name: 'cpu', batch: null },
    { name: 'gpu', device: 'webgpu:0', threads: 1, batch: 'auto', batchWaitUs: null },
  ])
  const set = { ...gpu, MILLRACE_POOL_GPU_BATCH: '64', MILLRACE_POOL_GPU_BATCH_WAIT_US: '500' }
  expect(readConfig(set, defaults).pools[1]).toMatchObject({ batch: 64, batchWaitUs: 500 })
  expect(() => readConfig({ ...gpu, MILLRACE_POOL_GPU_BATCH: 'all' }, defaults)).toThrow(
    /MILLRACE_POOL_GPU_BATCH="all"/,
  )
  expect(() => readConfig({ ...gpu, MILLRACE_POOL_GPU_THREADS: '2' }, defaults)).toThrow(
    /MILLRACE_POOL_GPU_THREADS: 2, but only one thread of a process can use webgpu; more lanes/,
  )
  expect(() => readConfig({ ...gpu, MILLRACE_POOL_GPU_MEMORY: '1GiB' }, defaults)).toThrow(
    /MILLRACE_POOL_GPU_MEMORY: webgpu:0 takes no memory limit/,
  )
  expect(() => readConfig({ ...gpu, MILLRACE_POOL_CPU_DEVICE: 'webgpu:0' }, defaults)).toThrow(
    /MILLRACE_POOL_GPU_DEVICE: pool cpu has webgpu/,
  )
})

describe('devices and CPUs', () => {
  const withGpus = (count: number): Topology => ({ ...topology, gpus: Array<null>(count).fill(null) })
  const problemsOf = (env: Record<string, string>, machine: Topology = withGpus(2)): string[] => {
    try {
      readConfig({ ...small, ...env }, { ...defaults, topology: machine })
      return []
    } catch (error) {
      return (error as ConfigError).problems
    }
  }

  test('lanes by themselves: one for each core pair, or for each CUDA device', () => {
    const auto = { ...small, MILLRACE_LANES: 'auto' }
    expect(readConfig(auto, defaults)).toMatchObject({ lanes: 2, pools: [{ threads: 1 }] })
    const gpus = readConfig({ ...auto, MILLRACE_POOL_CPU_DEVICE: 'cuda:1,0' }, { ...defaults, topology: withGpus(2) })
    expect(gpus).toMatchObject({ lanes: 2, pools: [{ device: 'cuda:0-1', threads: 1 }] })
  })

  test('CPUs of the device are those of the pool', () => {
    const config = readConfig({ ...small, MILLRACE_POOL_CPU_DEVICE: 'cpu:2-3' }, defaults)
    expect(config.pools[0]).toMatchObject({ device: 'cpu:2-3', cpus: [2, 3], threads: 2 })
    expect(problemsOf({ MILLRACE_POOL_CPU_DEVICE: 'cpu:2-3', MILLRACE_POOL_CPU_CPUS: '2,3' })).toEqual([])
    expect(problemsOf({ MILLRACE_POOL_CPU_DEVICE: 'cpu:2-3', MILLRACE_POOL_CPU_CPUS: '1' })).toEqual([
      'MILLRACE_POOL_CPU_CPUS: is not what MILLRACE_POOL_CPU_DEVICE=cpu:2-3 says; set one of the two',
    ])
    expect(problemsOf({ MILLRACE_POOL_CPU_DEVICE: 'cpu:3-5' })).toEqual([
      'MILLRACE_POOL_CPU_DEVICE: this process may not use CPU 4, 5',
    ])
  })

  test('CUDA devices and lanes that do not match', () => {
    const two = { MILLRACE_POOLS: 'a,b', MILLRACE_POOL_A_DEVICE: 'cuda:0', MILLRACE_POOL_B_DEVICE: 'cuda:1' }
    expect(problemsOf(two)).toEqual([
      expect.stringMatching(/^MILLRACE_POOL_B_DEVICE: a lane has one CUDA device.*pool a/),
    ])
    expect(problemsOf({ MILLRACE_POOL_CPU_DEVICE: 'cuda:0,1', MILLRACE_LANES: '3' })).toEqual([
      'MILLRACE_POOL_CPU_DEVICE=cuda:0-1: a lane has one CUDA device, and 3 lanes do not share 2 evenly: ' +
        'set MILLRACE_LANES=auto, 2 or a multiple of it',
    ])
    expect(problemsOf({ MILLRACE_POOL_CPU_DEVICE: 'cuda:0,1', MILLRACE_LANES: '2' })).toEqual([])
  })

  test('CUDA devices that are not there, of the machine or of what is visible', () => {
    const one = { MILLRACE_POOL_CPU_DEVICE: 'cuda:1' }
    expect(problemsOf(one, withGpus(0))).toEqual(['MILLRACE_POOL_CPU_DEVICE=cuda:1: this machine has no CUDA device'])
    expect(problemsOf({ ...one, CUDA_VISIBLE_DEVICES: '1' })).toEqual([
      'MILLRACE_POOL_CPU_DEVICE=cuda:1: CUDA_VISIBLE_DEVICES=1 has CUDA devices 0 to 0',
    ])
    expect(problemsOf({ ...one, CUDA_VISIBLE_DEVICES: 'GPU-1f,GPU-2e' })).toEqual([])
    // Nothing is known: the engine will say.
    expect(problemsOf(one, topology)).toEqual([])
  })

  test('more engine threads than CPUs: only when it is meant', () => {
    const env = { MILLRACE_POOL_CPU_THREADS: '2', MILLRACE_POOL_CPU_ENGINE_THREADS: '3' }
    expect(problemsOf(env)).toEqual([
      'MILLRACE_POOL_CPU_ENGINE_THREADS: 2 threads of 3 engine threads need 6 CPUs; CPUs 0-3 are 4: ' +
        'set fewer, or MILLRACE_OVERSUBSCRIBE=yes',
    ])
    const meant = readConfig({ ...small, ...env, MILLRACE_OVERSUBSCRIBE: 'yes' }, defaults)
    expect(meant.warnings).toEqual([expect.stringMatching(/need 6 CPUs; CPUs 0-3 are 4; they take turns$/)])
    // Nobody asked for the second thread of the only CPU.
    const gpu = { ...small, MILLRACE_POOLS: 'cpu,gpu', MILLRACE_POOL_GPU_DEVICE: 'webgpu:0' }
    expect(readConfig(gpu, { ...defaults, topology: flatTopology([0]) }).warnings).toHaveLength(2)
  })
})

test('where facts are is shown without the password', () => {
  const shown = (facts: string): string | undefined => {
    const env = { ...small, MILLRACE_FACTS: facts }
    return describeConfig(readConfig(env, defaults), env).find(({ name }) => name === 'MILLRACE_FACTS')?.value
  }
  expect(shown('redis://reader:se@cret@host:6379/0')).not.toContain('cret')
  expect(shown('rediss://reader:secret@host:6379/0')).toBe('rediss://reader:***@host:6379/0')
  expect(shown('redis://:secret@host')).toBe('redis://:***@host')
  expect(shown('/var/facts')).toBe('/var/facts')
})

test('a data port that others reach needs somebody who keeps them out', () => {
  const problems = (env: Record<string, string>): string => {
    try {
      readConfig({ ...small, ...env }, defaults)
      return ''
    } catch (error) {
      return (error as ConfigError).problems.join()
    }
  }
  for (const MILLRACE_HOST of ['0.0.0.0', '::', '10.1.2.3', 'example.org']) {
    expect(problems({ MILLRACE_HOST })).toMatch(/^MILLRACE_HOST: is not loopback.*MILLRACE_ALLOW_ANONYMOUS=yes/)
    expect(problems({ MILLRACE_HOST, MILLRACE_ALLOW_ANONYMOUS: 'yes' })).toBe('')
  }
  for (const MILLRACE_HOST of ['127.0.0.1', 'localhost', '::1']) expect(problems({ MILLRACE_HOST })).toBe('')
  const { adminHost } = readConfig(small, defaults)
  expect(adminHost).toBe('127.0.0.1')
})

test('origins', () => {
  const MILLRACE_ALLOWED_ORIGINS = 'https://example.org, http://localhost:3000'
  expect(readConfig({ ...small, MILLRACE_ALLOWED_ORIGINS }, defaults).allowedOrigins).toEqual([
    'https://example.org',
    'http://localhost:3000',
  ])
  for (const wrong of ['example.org', 'https://example.org/', 'https://example.org/path', '*.example.org', 'null'])
    expect(() => readConfig({ ...small, MILLRACE_ALLOWED_ORIGINS: wrong }, defaults)).toThrow(
      `MILLRACE_ALLOWED_ORIGINS: ${wrong} is no origin, such as https://example.org, nor *`,
    )
})

test('keys of decisions are long, few, and never shown', () => {
  const key = 'k'.repeat(32)
  const env = (keys: string) => ({ ...small, MILLRACE_DECISION_KEY: keys })
  expect(readConfig(env(`${key}, ${key}x`), defaults).decisionKey).toEqual([key, `${key}x`])
  for (const keys of ['short', `${key},short`, Array(9).fill(key).join()])
    expect(() => readConfig(env(keys), defaults)).toThrow(/^(?!.*kkkk).*MILLRACE_DECISION_KEY: must be at most 8 keys/s)
  const shown = (keys: string) =>
    describeConfig(readConfig(env(keys), defaults), env(keys)).find(({ name }) => name === 'MILLRACE_DECISION_KEY')
  expect([shown(key)?.value, shown('')?.value]).toEqual(['(set)', ''])
})

describe('memory', () => {
  const read = (memoryBytes: number, env: Record<string, string> = {}) =>
    readConfig({ ...small, ...env }, { ...defaults, memoryBytes })
  const mib = 2 ** 20

  test('what is reserved has to be there; what may come is warned of', () => {
    expect(read(4096 * mib).warnings).toEqual([])
    const [warning] = read(200 * mib).warnings
    expect(warning).toMatch(
      /^MILLRACE_POOL_<NAME>_THREADS: \d+ MiB may be taken, 200 MiB are available; lower one of: pool/,
    )
    expect(() => read(100 * mib, { MILLRACE_LANES: '4' })).toThrow(
      /MILLRACE_ARENA_BYTES: 128 MiB are taken from the start, 100 MiB are available; lower one of: arenas/,
    )
  })

  test('descriptors that connections may need are warned of', () => {
    const warnings = (descriptors: number): string =>
      readConfig(small, { ...defaults, memoryBytes: 2 ** 40, descriptors }).warnings.join()
    expect(warnings(10_000 + 8_000 + 128)).toBe('')
    expect(warnings(1024)).toMatch(/^MILLRACE_SOCKETS_MAX: .* 18128 descriptors may be needed, 1024 are allowed; lower/)
    const file = join(mkdtempSync(join(tmpdir(), 'limits-')), 'limits')
    writeFileSync(
      file,
      'Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n',
    )
    expect([descriptorsAllowed(file), descriptorsAllowed('/nowhere')]).toEqual([1024, Infinity])
    expect(descriptorsAllowed()).toBeGreaterThan(0)
  })

  test('every lane, and what each variable says', () => {
    const sum = (env: Record<string, string> = {}) => bytesOf(memoryPlan(read(2 ** 40, env)))
    expect(sum({ MILLRACE_UNREAD_BYTES_MAX: '256MiB' }) - sum()).toBe(128 * mib)
    expect(sum({ MILLRACE_ARRIVING_BYTES_MAX: '256MiB' }) - sum()).toBe(128 * mib)
    const asked = { MILLRACE_ALLOCATOR: 'http://127.0.0.1:9' }
    expect(sum({ ...asked, MILLRACE_ALLOCATOR_WAITING_BYTES: '1MiB' }) - sum()).toBe(mib)
    expect(sum({ MILLRACE_ARENA_BYTES: '64MiB' }) - sum()).toBe(32 * mib)
    expect(sum({ MILLRACE_LANES: '2', MILLRACE_POOL_CPU_THREADS: '1' })).toBe(
      2 * sum({ MILLRACE_POOL_CPU_THREADS: '1' }),
    )
  })
})
