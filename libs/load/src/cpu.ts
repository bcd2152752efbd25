import { readdirSync, readFileSync } from 'node:fs'

/**
 * CPU time of a process and of every process under it, microseconds, as the kernel's scheduler accounts for it
 * (`/proc/<pid>/task/<tid>/schedstat`, nanoseconds). Threads that ended meanwhile are missing.
 */
export function cpuUs(pid: number): number {
  let total = 0
  for (const one of treeOf(pid))
    for (const task of tasksOf(one)) {
      const stat = read(`/proc/${one}/task/${task}/schedstat`)
      if (stat !== null) total += Number(stat.split(' ')[0]) / 1000
    }
  return total
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
