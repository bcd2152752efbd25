import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Place, Program, ProgramRival } from './program'

/*
 * Rivals in Python, each in a virtual environment of its own that `tools/rivals.sh` makes.
 */

const environments = resolve(process.env['RIVALS_FOLDER'] ?? join(__dirname, '../../../.rivals'))
/** The programs, beside the sources. */
export const programs = join(__dirname, '../../rival/python')

/** @param packages whose versions are told */
export function installed(
  environment: string,
  packages: readonly string[],
): Pick<ProgramRival, 'missing' | 'versions'> {
  return {
    missing: () =>
      existsSync(join(environments, environment, 'complete')) ? null : `tools/rivals.sh ${environment} installs it`,
    versions: () => packages.map((name) => `${name} ${versionOf(environment, name)}`),
  }
}

/** A program of the environment, which finds others of it by name, as if the environment were activated. */
export function inEnvironment(
  environment: string,
  { port, onnx }: Place,
  { command, args, env, cwd = programs }: Omit<Program, 'env' | 'cwd'> & Partial<Program>,
): Program {
  const bin = join(environments, environment, 'bin')
  return {
    command: join(bin, command),
    args,
    cwd,
    env: {
      PATH: `${bin}:${process.env['PATH'] ?? ''}`,
      VIRTUAL_ENV: join(environments, environment),
      PYTHONDONTWRITEBYTECODE: '1',
      RIVAL_PORT: String(port),
      RIVAL_MODEL: onnx,
      ...env,
    },
  }
}

/** A program of the environment that is run for what it makes. */
export function toolOf(environment: string, name: string): string {
  return join(environments, environment, 'bin', name)
}

/** As the folder of its metadata says. */
function versionOf(environment: string, name: string): string {
  const lib = join(environments, environment, 'lib')
  const begin = `${name.replaceAll('-', '_')}-`
  for (const python of readdirSync(lib)) {
    const found = readdirSync(join(lib, python, 'site-packages')).find(
      (file) => file.startsWith(begin) && file.endsWith('.dist-info'),
    )
    if (found !== undefined) return found.slice(begin.length, -'.dist-info'.length)
  }
  return 'unknown'
}
