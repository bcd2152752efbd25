import { readdirSync, readFileSync } from 'node:fs'

/** CPU time of a process by the kernel's scheduler, microseconds: of its first thread, and of all others. */
export interface ThreadCpu {
  readonly first: number
  readonly others: number
}

/** Throws where there is no /proc, as outside Linux. */
export function threadCpu(pid: number): ThreadCpu {
  let [first, others] = [0, 0]
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    let us: number
    try {
      us = Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1000
    } catch {
      // It ended meanwhile.
      continue
    }
    if (Number(task) === pid) first += us
    else others += us
  }
  return { first, others }
}
