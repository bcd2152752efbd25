import { writeSync } from 'node:fs'
import { nowUs } from '@millrace/base'
import { toldWithPlace } from '@millrace/workflow'

interface Seen {
  writtenUs: number
  suppressed: number
}

const intervalUs = 1_000_000

/**
 * Exceptions of workflows as JSON lines, with the place in the version's folder and their stack: at most one a second for each version and phase, so that
 * a broken version under load does not drown the log; the next line says how many were left out.
 */
export class FailureLog {
  private readonly seen = new Map<string, Seen>()

  constructor(private readonly writeLine: (line: string) => void) {}

  /** Of a version that is gone. */
  forget(workflow: string): void {
    for (const key of this.seen.keys()) if (key.startsWith(`${workflow} `)) this.seen.delete(key)
  }

  /** @param about what else is known of what failed */
  write(
    workflow: string,
    phase: string,
    error: unknown,
    folder = '',
    about: Readonly<Record<string, unknown>> = {},
  ): void {
    const key = `${workflow} ${phase}`
    const now = nowUs()
    const seen = this.seen.get(key)
    if (seen !== undefined && now - seen.writtenUs < intervalUs) {
      seen.suppressed++
      return
    }
    this.seen.set(key, { writtenUs: now, suppressed: 0 })
    const stack = (error as { stack?: unknown } | null)?.stack
    const line = {
      level: 50,
      time: Date.now(),
      workflow,
      phase,
      suppressed: seen?.suppressed ?? 0,
      ...about,
      msg: `${workflow} failed in ${phase}: ${toldWithPlace(error, folder)}`,
      err: typeof stack === 'string' ? stack : String(error),
    }
    this.writeLine(`${JSON.stringify(line)}\n`)
  }
}

/**
 * To the process's own stderr, not the thread's: that goes through the front thread, which would never write again after
 * the first line that a full disk did not take. Such a line is lost.
 */
export function writeStderr(line: string): void {
  try {
    writeSync(2, line)
  } catch {
    // There is nowhere else to say it.
  }
}
