import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { openAdmin } from './admin'
import { CanaryWatch, type CanaryStop } from './canary-watch'
import { Catalogue } from './catalogue'
import type { Config } from './config'
import { freePort } from './free-port'
import { Lifecycle } from './lifecycle'
import type { Log } from './log'
import { Publisher } from './publisher'
import { sumOf } from './retired'
import type { Replaced } from './rolling-restart'
import type { LaneSnapshot } from './snapshot'
import { Supervisor } from './supervisor'

/** A server that runs: its lanes and its admin port. */
export interface Server {
  readonly port: number
  readonly adminPort: number
  snapshots(): Promise<LaneSnapshot[]>
  /** Replaces the lanes, one after the other; rejects with a Refusal or a LaneError where one cannot be. */
  restart(): Promise<Replaced[]>
  /** Drains: not ready first, accepted work is answered. */
  stop(): Promise<void>
}

export interface ServerOptions {
  /** A version whose folder is changed is loaded in the place of the one before: for whoever writes it. */
  readonly dev?: boolean
}

/** Looks are this far apart while somebody edits what is looked at. */
const devPollMs = 200

/** Resolves when every lane serves and the admin port is open; rejects with what is wrong, and nothing is left. */
export async function startServer(configured: Config, log: Log, { dev = false }: ServerOptions = {}): Promise<Server> {
  const config = dev ? { ...configured, repositoryPollMs: devPollMs } : configured
  // Known before anything is loaded.
  if (config.adminPort !== 0) await freePort('MILLRACE_ADMIN_PORT', config.adminHost, config.adminPort)
  const catalogue = new Catalogue({ repository: config.repository, replaceChanged: dev }, log)
  const { repository } = catalogue
  if (repository.versions.length === 0)
    throw new Error(`there is nothing to serve: ${repository.problems.join('; ') || `${repository.path} is empty`}`)
  const publisher = await Publisher.start(repository, rulesFolder(config), log)
  for (const { name, version } of publisher.named)
    if (catalogue.of(`${name}@${version}`).length === 0) catalogue.miss(name, version)
  const supervisor = await Supervisor.start(
    withDecisionKey(config),
    () => publisher.current,
    () => catalogue.wanted(),
    log,
  )
  const lifecycle = new Lifecycle(config, catalogue, publisher, supervisor, log)
  supervisor.onPolled = watchCanaries(supervisor, publisher, lifecycle, log)
  const stop = async (): Promise<void> => {
    lifecycle.close()
    await supervisor.stop()
  }
  try {
    const admin = await openAdmin(config, { supervisor, publisher, lifecycle }, log)
    return {
      port: supervisor.dataPort,
      adminPort: admin.port,
      snapshots: () => supervisor.snapshots(),
      restart: () => supervisor.restartAll(),
      stop: async () => {
        // The admin port stays open until the end: readiness says no while the lanes drain.
        await stop()
        await admin.close()
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** With a key that all lanes of this start share, where none is configured. */
function withDecisionKey(config: Config): Config {
  return config.decisionKey.length > 0 ? config : { ...config, decisionKey: [randomBytes(32).toString('base64')] }
}

/** What takes canaries off that pass their limits, whenever it is called. */
function watchCanaries(supervisor: Supervisor, publisher: Publisher, lifecycle: Lifecycle, log: Log): () => void {
  const watch = new CanaryWatch()
  let stopping = false
  const look = (): CanaryStop[] =>
    watch.look(publisher.current, () => sumOf(supervisor.retired, supervisor.lastSnapshots), performance.now())
  look()
  return () => {
    if (stopping) return
    const stops = look()
    if (stops.length === 0) return
    stopping = true
    publisher
      .stop(lifecycle, stops)
      .then(
        (entry) => {
          if (entry !== null) log.warn({ rules: entry.version }, entry.note)
          // What was taken off is not watched any more: where it runs again, it begins anew.
          look()
        },
        // Tried again in a second.
        (error: unknown) => log.error({ err: error, stops }, 'a canary passed its limits and could not be taken off'),
      )
      .finally(() => (stopping = false))
  }
}

/** Where the versions of the rules are kept. */
function rulesFolder({ stateFolder, repository }: Config): string {
  return join(stateFolder === '' ? join(repository, '.millrace') : stateFolder, 'rules')
}
