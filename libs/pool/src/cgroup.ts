import { join } from 'node:path'
import { readNumber, readText } from './files'

/**
 * CPU time that the control groups of this process allow, in CPUs (1.5 is one and a half): the least of its group
 * and of those around it, version 1 and 2. Null without a limit.
 *
 * @param root folder that stands for `/`
 */
export function readQuota(root: string): number | null {
  const mounts = (readText(root, 'proc/self/mountinfo') ?? '').split('\n').flatMap(mountOf)
  const groups = (readText(root, 'proc/self/cgroup') ?? '').split('\n')
  const quotas = groups.flatMap((line) => {
    const [, controllers = '', group = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    const v2 = controllers === ''
    if (!v2 && !controllers.split(',').includes('cpu')) return []
    const mount = mounts.find((one) =>
      v2 ? one.type === 'cgroup2' : one.type === 'cgroup' && one.options.includes('cpu'),
    )
    return mount === undefined ? [] : quotasFrom(root, mount, group, v2 ? quotaV2 : quotaV1)
  })
  return quotas.length === 0 ? null : Math.min(...quotas)
}

interface Mount {
  readonly type: string
  /** The group that is seen at `point`. */
  readonly group: string
  readonly point: string
  readonly options: readonly string[]
}

/** A line of mountinfo: `31 23 0:28 /group /point rw - cgroup2 source rw,cpu`. */
function mountOf(line: string): Mount[] {
  const [left = '', right = ''] = line.split(' - ')
  const [, , , group, point] = left.split(' ').map(unescape)
  const [type, , options = ''] = right.split(' ')
  if (group === undefined || point === undefined || !type?.startsWith('cgroup')) return []
  return [{ type, group, point, options: options.split(',') }]
}

/** mountinfo writes a space as \040. */
function unescape(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

type ReadQuota = (folder: string) => number | null

/** Of the group and of every group around it that can be seen. */
function quotasFrom(root: string, mount: Mount, group: string, quotaOf: ReadQuota): number[] {
  // A container may see its own group as the top, and be told its name outside.
  const inside =
    mount.group === '/' ? group : group.startsWith(`${mount.group}/`) ? group.slice(mount.group.length) : ''
  const names = inside.split('/').filter((name) => name !== '')
  const path = names.includes('..') ? [] : names
  return Array.from({ length: path.length + 1 }, (_, depth) =>
    quotaOf(join(root, mount.point, ...path.slice(0, depth))),
  ).filter((quota) => quota !== null)
}

/** `cpu.max`: quota and period in microseconds, or max. */
function quotaV2(folder: string): number | null {
  const match = /^(\d+) (\d+)$/.exec(readText(folder, 'cpu.max') ?? '')
  return match === null ? null : Number(match[1]) / Number(match[2])
}

function quotaV1(folder: string): number | null {
  const quota = readNumber(folder, 'cpu.cfs_quota_us')
  const period = readNumber(folder, 'cpu.cfs_period_us')
  return quota === null || quota <= 0 || period === null || period <= 0 ? null : quota / period
}
