import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU time of a process and of every process under it, microseconds, as the kernel's scheduler accounts for it
 * (`/proc/<pid>/task/<tid>/schedstat`, nanoseconds). Threads that ended meanwhile are missing.
 */
export function cpuUs(pid: number): number {
  let total = 0
  for (const one of treeOf(pid)) for (const task of tasksOf(one)) total += taskUs(one, task)
  return total
}

/** CPU time of the threads of one process, microseconds, by the same account: of its first, and of all others. */
export interface ThreadCpu {
  readonly first: number
  readonly others: number
}

/** Throws an Error where there is no /proc, as outside Linux, or no such process. */
export function threadCpu(pid: number): ThreadCpu {
  const tasks = tasksOf(pid)
  if (tasks.length === 0) throw new Error(`/proc/${pid}/task cannot be read: CPU of threads is known on Linux alone`)
  let [first, others] = [0, 0]
  for (const task of tasks) {
    const us = taskUs(pid, task)
    if (Number(task) === pid) first += us
    else others += us
  }
  return { first, others }
}

/** Zero of a thread that ended meanwhile. */
function taskUs(pid: number, task: string): number {
  return Number(read(`/proc/${pid}/task/${task}/schedstat`)?.split(' ')[0] ?? 0) / 1000
}

/** CPU time that all programs of the machine used, microseconds, to the clock tick of 10 ms (`/proc/stat`). */
export function busyUs(): number {
  const [, user, nice, system, , , irq, softirq] = read('/proc/stat')!.split('\n')[0]!.split(/ +/).map(Number)
  return (user! + nice! + system! + irq! + softirq!) * 10_000
}

/** Resident memory of a process and of every process under it, bytes. */
export function rssBytes(pid: number): number {
  let total = 0
  for (const one of treeOf(pid)) {
    const match = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${one}/status`) ?? '')
    total += Number(match?.[1] ?? 0) * 1024
  }
  return total
}

/** A process and every process under it. */
export function treeOf(pid: number): number[] {
  return [pid, ...childrenOf(pid)]
}

function childrenOf(pid: number): number[] {
  const direct = tasksOf(pid).flatMap((task) =>
    (read(`/proc/${pid}/task/${task}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  )
  return direct.flatMap((child) => [child, ...childrenOf(child)])
}

function tasksOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
