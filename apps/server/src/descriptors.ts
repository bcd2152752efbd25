import { readFileSync } from 'node:fs'
import type { Config } from './config'

/** Of a lane beside its connections: files, pools, the log, the channel to the supervisor. */
const ownMax = 128

/** Descriptors that a process of ours may open; Node has raised the soft limit to the hard one. Infinity: nobody says. */
export function descriptorsAllowed(file = '/proc/self/limits'): number {
  try {
    const [, soft] = /^Max open files +(\S+)/m.exec(readFileSync(file, 'utf8')) ?? []
    return Number.isNaN(Number(soft)) ? Infinity : Number(soft)
  } catch {
    return Infinity
  }
}

/** Adds to `warnings` when connections may come for which a lane has no descriptor: those would wait, unanswered. */
export function checkDescriptors({ socketsMax, connectionsMax }: Config, allowed: number, warnings: string[]): void {
  const most = socketsMax + connectionsMax + ownMax
  if (most <= allowed) return
  warnings.push(
    `MILLRACE_SOCKETS_MAX: with MILLRACE_CONNECTIONS_MAX and what a lane opens itself ${most} descriptors may be needed, ` +
      `${allowed} are allowed; lower one of the two, or raise the limit (ulimit -n, LimitNOFILE=)`,
  )
}
