import { readFileSync } from 'node:fs'
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

/** Bytes of glibc's `cpu_set_t`. */
const cpuSetBytes = 128

/**
 * Pins the calling thread, and every thread it starts from now on, to `cpus` by sched_setaffinity(2); an empty
 * list leaves it where it is. Never throws: a server that cannot pin still serves, and says so.
 */
export function pinThread(cpus: readonly number[]): Pinned {
  if (process.platform !== 'linux')
    return { tid: 0, cpus: null, error: cpus.length > 0 ? `pinning needs Linux, this is ${process.platform}` : null }
  try {
    // Here, not at the top: the server thread imports this room too and has no use for the library.
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    const libc = (require('koffi') as Koffi).load(null)
    const tid = libc.func('int gettid()')()
    let error: string | null = null
    if (cpus.length > 0) {
      const set = Buffer.alloc(cpuSetBytes)
      for (const cpu of cpus) set[cpu >> 3]! |= 1 << (cpu & 7)
      const setAffinity = libc.func('int sched_setaffinity(int pid, size_t size, void *mask)')
      if (setAffinity(0, cpuSetBytes, set) !== 0)
        error = `the kernel refused CPUs ${formatCpus(cpus)} (see MILLRACE_POOL_<NAME>_CPUS)`
    }
    return { tid, cpus: affinityOf(process.pid, tid), error }
  } catch (error) {
    return { tid: 0, cpus: null, error: error instanceof Error ? error.message : String(error) }
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
