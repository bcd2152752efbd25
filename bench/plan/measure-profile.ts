import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { checkProfile, readData, type Profile } from '@millrace/plan'

const millrace = join(__dirname, '../../../apps/cli/bin/millrace.js')
/** As the server is that is loaded. */
const alike = { MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_PINNING: 'off' }

/**
 * What `millrace plan measure` says of these objectives, `name:rows` each, on a server with these variables.
 *
 * @param traffic a recording of their requests; null: golden ones
 */
export async function measureProfile(
  env: Readonly<Record<string, string>>,
  objectives: readonly string[],
  traffic: string | null,
  file: string,
  quick: boolean,
): Promise<Profile> {
  const args = [millrace, 'plan', 'measure', '--out', file, ...objectives.flatMap((one) => ['--objective', one])]
  if (traffic !== null) args.push('--traffic', traffic)
  const child = spawn(process.execPath, quick ? [...args, '--quick'] : args, {
    env: { ...process.env, ...alike, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const code = await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject))
  if (code !== 0) throw new Error(`millrace plan measure ended with ${String(code)}:\n${said}`)
  return checkProfile(readData(file, 'the profile'), file)
}
