import { cpus } from 'node:os'
import { formatCpus, parseCpus, pinProcess, readTopology } from '@millrace/pool'

/** CPUs of a server and of what loads it, none of them shared: the one does not wait until the other leaves a CPU. */
export interface Apart {
  readonly server: readonly number[]
  readonly load: readonly number[]
}

/** Variable of a server's process: the CPUs that it stays on, as 0-2,5. */
export const cpusVariable = 'BENCH_CPUS'

/** Processes that a load has at most: each needs a CPU that the server does not. */
export function processesMax(): number {
  return Math.max(1, Math.min(8, Math.floor(cpus().length / 4)))
}

/** The load has the last CPUs, as many as processes, and the server the others. Null where there is one CPU. */
export function cutCpus(): Apart | null {
  const all = readTopology().cpus.map(({ cpu }) => cpu)
  const server = all.slice(0, -processesMax())
  return server.length === 0 ? null : { server, load: all.slice(server.length) }
}

/** The part of the server, as its process is told it. */
export function toServer({ server }: Apart): Readonly<Record<string, string>> {
  return { [cpusVariable]: formatCpus(server) }
}

/** Keeps this process on the CPUs that it was told, if any. Returns why it is not; null: it is, or was told none. */
export function stayApart(): string | null {
  const told = process.env[cpusVariable]
  return told === undefined ? null : pinProcess(parseCpus(told)).error
}
