import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { allowed, cgroups, cpuFiles, machine as machineIn, type Files } from '../../../test/support/machine'
import { affinityOf, formatCpus, parseCpus, readTopology } from './index'

/* Machines made of files. */

const folder = mkdtempSync(join(tmpdir(), 'topology-'))
afterAll(() => rmSync(folder, { recursive: true }))

const machine = (files: Files): string => machineIn(folder, files)

test('one socket without siblings', () => {
  const { cpus, online, quota } = readTopology(machine({ ...cpuFiles(1, 4, 1), ...allowed('0-3') }))
  expect(cpus).toEqual([0, 1, 2, 3].map((cpu) => ({ cpu, node: 0, socket: 0, core: cpu })))
  expect([online, quota]).toEqual([4, null])
})

test('two sockets with siblings', () => {
  const { cpus } = readTopology(machine({ ...cpuFiles(2, 8, 2), ...allowed('0-31') }))
  expect(cpus).toHaveLength(32)
  expect(cpus[9]).toEqual({ cpu: 9, node: 1, socket: 1, core: 9 })
  expect(cpus[25]).toEqual({ cpu: 25, node: 1, socket: 1, core: 9 })
  expect(cpus[16]).toEqual({ cpu: 16, node: 0, socket: 0, core: 0 })
})

test('two sockets of four nodes each', () => {
  const { cpus } = readTopology(machine({ ...cpuFiles(2, 32, 2, 4), ...allowed('0-127') }))
  const sizes = new Map<number, number>()
  for (const { node } of cpus) sizes.set(node, (sizes.get(node) ?? 0) + 1)
  expect([...sizes]).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((node) => [node, 16]))
  expect(cpus.find(({ cpu }) => cpu === 40)).toEqual({ cpu: 40, node: 5, socket: 1, core: 40 })
})

test('what is offline or not ours is no CPU; a node of memory alone is no node', () => {
  const files = { ...cpuFiles(2, 4, 1), ...allowed('1-7'), 'sys/devices/system/node/node2/cpulist': '' }
  const root = machine({ ...files, 'sys/devices/system/cpu/online': '0-5' })
  const { cpus, online } = readTopology(root)
  expect(cpus.map(({ cpu, node }) => [cpu, node])).toEqual([
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 1],
    [5, 1],
  ])
  expect(online).toBe(6)
})

test('without topology files a CPU is a core; without anything there are as many as this machine runs', () => {
  const arm = readTopology(machine({ 'sys/devices/system/cpu/online': '0-3', ...allowed('0-3') }))
  expect(arm.cpus).toEqual([0, 1, 2, 3].map((cpu) => ({ cpu, node: 0, socket: 0, core: cpu })))
  const bare = readTopology(machine(allowed('2,5')))
  expect([bare.cpus.map(({ cpu }) => cpu), bare.online]).toEqual([[2, 5], 2])
  const none = readTopology(machine({}))
  expect([none.cpus.length, none.quota, none.gpus]).toEqual([availableParallelism(), null, null])
})

test('files that say nonsense are as good as missing', () => {
  const root = machine({
    ...allowed('0-1'),
    'sys/devices/system/cpu/online': 'all',
    'sys/devices/system/cpu/cpu0/topology/physical_package_id': '-1',
    'sys/devices/system/cpu/cpu0/topology/core_cpus_list': '1-0',
    ...cgroups('/', { 'cpu.max': 'plenty' }),
  })
  expect(readTopology(root)).toMatchObject({
    cpus: [
      { cpu: 0, node: 0, socket: 0, core: 0 },
      { cpu: 1, node: 0, socket: 0, core: 1 },
    ],
    quota: null,
  })
})

describe('quota', () => {
  const cpus = { ...cpuFiles(1, 64, 1), ...allowed('0-63') }
  const quotaOf = (files: Files): number | null => readTopology(machine({ ...cpus, ...files })).quota

  test('of version 2, the least of all groups around', () => {
    expect(quotaOf(cgroups('/', { 'cpu.max': '200000 100000' }))).toBe(2)
    expect(quotaOf(cgroups('/', { 'cpu.max': 'max 100000' }))).toBeNull()
    const nested = { 'a/cpu.max': '150000 100000', 'a/b/cpu.max': '400000 100000', 'a/b/c/cpu.max': 'max 100000' }
    expect(quotaOf(cgroups('/a/b/c', nested))).toBe(1.5)
    expect(quotaOf(cgroups('/elsewhere', nested))).toBeNull()
  })

  test('of a container that is told its name outside, or a name above its own', () => {
    expect(quotaOf(cgroups('/docker/1f/inner', { 'cpu.max': '300000 100000' }, '/docker/1f'))).toBe(3)
    expect(quotaOf(cgroups('/docker/1f/in', { 'in/cpu.max': '50000 100000' }, '/docker/1f'))).toBe(0.5)
    expect(quotaOf(cgroups('/docker/1ff', { 'cpu.max': '300000 100000', 'f/cpu.max': '1 100000' }, '/docker/1f'))).toBe(
      3,
    )
    expect(quotaOf(cgroups('/../../other', { 'cpu.max': '300000 100000' }))).toBe(3)
  })

  test('of version 1, beside controllers of version 2', () => {
    const files = {
      'proc/self/cgroup': '4:memory:/box\n2:cpu,cpuacct:/box/in\n1:cpuset:/box\n0::/',
      'proc/self/mountinfo': [
        '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw',
        '32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset',
        '33 31 0:30 / /sys/fs/cgroup/cpu\\040acct rw shared:3 - cgroup cgroup rw,cpu,cpuacct',
        '34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
      ].join('\n'),
      'sys/fs/cgroup/cpu acct/cpu.cfs_quota_us': '-1',
      'sys/fs/cgroup/cpu acct/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/cpu acct/box/cpu.cfs_quota_us': '600000',
      'sys/fs/cgroup/cpu acct/box/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/cpu acct/box/in/cpu.cfs_quota_us': '-1',
      'sys/fs/cgroup/cpu acct/box/in/cpu.cfs_period_us': '100000',
    }
    expect(quotaOf(files)).toBe(6)
    expect(quotaOf({ ...files, 'sys/fs/cgroup/cpu acct/box/in/cpu.cfs_quota_us': '250000' })).toBe(2.5)
  })
})

test('CUDA devices with their nodes, in the order of the bus; by their files where that is all', () => {
  const gpus = {
    'proc/driver/nvidia/gpus/0000:81:00.0/information': '',
    'proc/driver/nvidia/gpus/0000:0A:00.0/information': '',
    'sys/bus/pci/devices/0000:81:00.0/numa_node': '1',
    'sys/bus/pci/devices/0000:0a:00.0/numa_node': '0',
  }
  expect(readTopology(machine(gpus)).gpus).toEqual([0, 1])
  expect(readTopology(machine({ 'dev/nvidia0': '', 'dev/nvidia1': '', 'dev/nvidiactl': '' })).gpus).toEqual([
    null,
    null,
  ])
  expect(readTopology(machine({ 'dev/null': '' })).gpus).toEqual([])
  expect(readTopology(machine({ 'dev/dxg': '' })).gpus).toBeNull()
})

const onLinux = process.platform === 'linux' ? test : test.skip
onLinux('this machine: the CPUs that the kernel lets this process run on', () => {
  const { cpus, online } = readTopology()
  expect(cpus.map(({ cpu }) => cpu)).toEqual(affinityOf(process.pid, process.pid))
  expect(online).toBeGreaterThanOrEqual(cpus.length)
  expect(parseCpus(formatCpus(cpus.map(({ cpu }) => cpu)))).toHaveLength(cpus.length)
})
