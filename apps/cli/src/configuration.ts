import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { enginesFolder } from '@millrace/engine'
import { readTopology } from '@millrace/pool'
import { readConfig, type Config, type ConfigDefaults } from '@millrace/server'

/** The demo, where it is beside this package: what is served when nothing else is said. */
const demo = join(__dirname, '../../demo/repository')

/**
 * The configuration of the environment; `--repository` before MILLRACE_REPOSITORY before the demo.
 *
 * @param machine what is known of a machine; else it is this one
 * @param over variables that are so whatever the environment says
 */
export function configuration(
  repository: string | undefined,
  machine: Pick<ConfigDefaults, 'topology' | 'memoryBytes'> = { topology: readTopology() },
  over: Readonly<Record<string, string>> = {},
): Config {
  const named = repository === undefined ? {} : { MILLRACE_REPOSITORY: resolve(repository) }
  const env = { ...process.env, ...named, ...over }
  const defaults = { enginesFolder: enginesFolder(process.env), ...machine }
  return readConfig(env, { ...defaults, ...(existsSync(demo) ? { repository: demo } : {}) })
}

/** The repository alone, for commands that need nothing else. */
export function repositoryPath(given: string | undefined): string {
  return resolve(given ?? process.env['MILLRACE_REPOSITORY'] ?? demo)
}
