import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Exit } from './output'

/**
 * The bench measures this command and everything under it, so it is a room after this one and a program of its own: it is
 * started where it is there, as a checkout has it. Resolves with its exit code.
 */
export function benchSuite(args: readonly string[]): Promise<number> {
  const program = join(__dirname, '../../../bench/dist/index.js')
  if (!existsSync(program))
    throw new Error(
      `the suites are not part of this installation (${program}): they are run from a checkout, ` +
        'after npm ci and npm run build; millrace bench engines is here',
    )
  const child = spawn(process.execPath, [program, ...args], { stdio: 'inherit' })
  // Ctrl-C reaches it too: it is waited for.
  process.on('SIGINT', () => undefined)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? Exit.no))
  })
}
