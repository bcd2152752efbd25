import { pino, destination, type Logger } from 'pino'

export type Log = Logger

/** JSON lines on stderr; stdout is for people. Synchronous: the last line before an exit is there. */
export function openLog(level: string, fields: Readonly<Record<string, unknown>> = {}): Log {
  return pino({ level, base: { pid: process.pid, ...fields } }, destination({ fd: 2, sync: true }))
}
