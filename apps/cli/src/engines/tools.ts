import { spawn } from 'node:child_process'
import { Code, Refusal } from '@millrace/base'

/** Lines of a tool's own words that are worth reading. */
const linesShown = 12
const charactersKept = 65_536

/** A program of the machine ended with something else than 0, or was not there. */
export class ToolError extends Error {
  constructor(
    readonly tool: string,
    /** Null when it did not start. */
    readonly status: number | string | null,
    readonly output: string,
  ) {
    super(status === null ? `there is no ${tool}` : `${tool} ended with ${status}:\n${lastLines(output)}`)
  }
}

export interface Surroundings {
  readonly env: NodeJS.ProcessEnv
  /** Ends what runs. */
  readonly signal?: AbortSignal
}

/** Runs a program to its end. Answers what it wrote on stdout; rejects with ToolError, or with the signal's reason. */
export function runTool(
  tool: string,
  args: readonly string[],
  { env, signal, cwd }: Surroundings & { readonly cwd?: string },
): Promise<string> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const child = spawn(tool, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    const stop = (): void => void child.kill()
    signal?.addEventListener('abort', stop)
    let stdout = ''
    let all = ''
    child.stdout.on('data', (piece: Buffer) => {
      stdout += piece.toString()
      all = (all + piece.toString()).slice(-charactersKept)
    })
    child.stderr.on('data', (piece: Buffer) => (all = (all + piece.toString()).slice(-charactersKept)))
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? new ToolError(tool, null, '') : error),
    )
    child.once('close', (status, killed) => {
      signal?.removeEventListener('abort', stop)
      if (signal?.aborted === true) reject(signal.reason as Error)
      else if (status === 0) resolve(stdout)
      else reject(new ToolError(tool, killed ?? status, all))
    })
  })
}

/** An expected "no" of the installer. */
export function no(message: string): Refusal {
  return new Refusal(Code.FAILED_PRECONDITION, message)
}

function lastLines(output: string): string {
  const lines = output.trimEnd().split('\n')
  return lines
    .slice(-linesShown)
    .map((line) => `  ${line}`)
    .join('\n')
}
