import { readdirSync, readFileSync } from 'node:fs'
import { formatCpus, parseCpus } from './cpus'

/** What became of pinning a thread. */
export interface Pinned {
  /** Linux thread id; 0 where there is none. */
  readonly tid: number
  /** CPUs that the kernel says the thread may run on, read back; null where it cannot be read. */
  readonly cpus: readonly number[] | null
  /** Why pinning failed, else null. */
  readonly error: string | null
}

/** What is used of koffi, whose own types are for ES modules only. */
interface Koffi {
  load(path: string | null): { func(declaration: string): (...args: unknown[]) => number }
}

interface Libc {
  readonly gettid: () => number
  /** 0 when it was done. */
  readonly setAffinity: (tid: number, cpus: readonly number[]) => number
}

/** Bytes of glibc's `cpu_set_t`. */
const cpuSetBytes = 128

/**
 * Pins the calling thread, and every thread it starts from now on, to `cpus` by sched_setaffinity(2); an empty
 * list leaves it where it is. Never throws: a server that cannot pin still serves, and says so.
 */
export function pinThread(cpus: readonly number[]): Pinned {
  return pin(({ setAffinity }) => cpus.length === 0 || setAffinity(0, cpus) === 0, cpus)
}

/** Pins every thread that this process has by now, and those that they start; else like `pinThread`. */
export function pinProcess(cpus: readonly number[]): Pinned {
  return pin(({ setAffinity }) => {
    if (cpus.length === 0) return true
    // A thread may end meanwhile: what matters is that this one could.
    for (const tid of threadsOf(process.pid)) setAffinity(tid, cpus)
    return setAffinity(0, cpus) === 0
  }, cpus)
}

function pin(act: (libc: Libc) => boolean, cpus: readonly number[]): Pinned {
  if (process.platform !== 'linux')
    return { tid: 0, cpus: null, error: cpus.length > 0 ? `pinning needs Linux, this is ${process.platform}` : null }
  try {
    const libc = openLibc()
    const tid = libc.gettid()
    const error = act(libc) ? null : `the kernel refused CPUs ${formatCpus(cpus)} (see MILLRACE_POOL_<NAME>_CPUS)`
    return { tid, cpus: affinityOf(process.pid, tid), error }
  } catch (error) {
    return { tid: 0, cpus: null, error: error instanceof Error ? error.message : String(error) }
  }
}

function openLibc(): Libc {
  // Here, not at the top: the supervisor imports this room too and has no use for the library.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const libc = (require('koffi') as Koffi).load(null)
  const setAffinity = libc.func('int sched_setaffinity(int pid, size_t size, void *mask)')
  return {
    gettid: libc.func('int gettid()'),
    setAffinity: (tid, cpus) => {
      const set = Buffer.alloc(cpuSetBytes)
      for (const cpu of cpus) set[cpu >> 3]! |= 1 << (cpu & 7)
      return setAffinity(tid, cpuSetBytes, set)
    },
  }
}

/** The CPUs that a thread may run on, as the kernel tells; null where it does not. */
export function affinityOf(pid: number, tid: number): readonly number[] | null {
  try {
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')
    const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1]
    return list === undefined ? null : parseCpus(list)
  } catch {
    return null
  }
}

/** The kernel's ids of a process's threads; none where there is no /proc. */
export function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}
