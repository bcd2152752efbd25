import { ConfigError, describeConfig, readConfig } from './config'

const defaults = { repository: 'models', cpus: [0, 1, 2, 3] }
// Small, so that the check against the memory of the machine says nothing.
const small = { MILLRACE_ARENA_BYTES: '32MiB' }

test('defaults', () => {
  const config = readConfig(small, defaults)
  expect(config).toMatchObject({ port: 8080, lanes: 1, arenaBytes: 2 ** 25, repository: 'models' })
  expect(config.pools).toEqual([
    { name: 'cpu', device: 'cpu', cpus: [0, 1, 2, 3], threads: 3, inFlight: 2, engines: [] },
  ])
  expect(JSON.parse(JSON.stringify(config))).toEqual(config)
})

test('pools, lanes, lists', () => {
  const env = { ...small, MILLRACE_POOLS: 'cpu,big-one', MILLRACE_POOL_BIG_ONE_CPUS: '0-1,3', MILLRACE_LANES: 'auto' }
  const config = readConfig(env, defaults)
  expect(config.lanes).toBe(2)
  expect(config.pools[1]).toMatchObject({ name: 'big-one', cpus: [0, 1, 3], threads: 1 })
  const rows = describeConfig(config, env)
  expect(rows.find((row) => row.name === 'MILLRACE_POOL_BIG_ONE_CPUS')).toMatchObject({
    value: '0,1,3',
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
    MILLRACE_POOL_CPU_DEVICE: 'cuda:0',
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
  expect(problems.join('\n')).toMatch(/cuda:0.*not available/)
})
