import { pino, destination, type Logger } from 'pino'

export type Log = Logger

/** Lines that are kept while they cannot be written, bytes; what comes on top is lost. */
const keptBytesMax = 1024 * 1024

/**
 * JSON lines on stderr; stdout is for people. Synchronous: the last line before an exit is there. What cannot be written,
 * on a disk that is full for instance, is tried again with the next line, and ends nothing.
 */
export function openLog(level: string, fields: Readonly<Record<string, unknown>> = {}): Log {
  const stderr = destination({ fd: 2, sync: true, maxLength: keptBytesMax })
  stderr.on('error', goOn)
  // What threads write goes there.
  if (!process.stderr.listeners('error').includes(goOn)) process.stderr.on('error', goOn)
  return pino({ level, base: { pid: process.pid, ...fields } }, stderr)
}

const goOn = (): void => undefined
