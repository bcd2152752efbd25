import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { readRepository } from '@millrace/workflow'
import { openAdmin } from './admin'
import { CanaryWatch, type CanaryStop } from './canary-watch'
import type { Config } from './config'
import { freePort } from './free-port'
import type { Log } from './log'
import { Publisher } from './publisher'
import { sumOf } from './retired'
import type { LaneSnapshot } from './snapshot'
import { Supervisor } from './supervisor'

/** A server that runs: its lanes and its admin port. */
export interface Server {
  readonly port: number
  readonly adminPort: number
  snapshots(): Promise<LaneSnapshot[]>
  /**
   * Lanes one by one are replaced by such as load the repository anew, each loaded before the one before it stops.
   * Rejects with what is wrong in the repository; what served before then goes on.
   */
  reload(): Promise<void>
  /** Drains: not ready first, accepted work is answered. */
  stop(): Promise<void>
}

/** Resolves when every lane serves and the admin port is open; rejects with what is wrong, and nothing is left. */
export async function startServer(config: Config, log: Log): Promise<Server> {
  // Known before anything is loaded.
  if (config.adminPort !== 0) await freePort('MILLRACE_ADMIN_PORT', config.adminHost, config.adminPort)
  const publisher = await Publisher.start(readRepository(config.repository), rulesFolder(config), log)
  const supervisor = await Supervisor.start(withDecisionKey(config), () => publisher.current, log)
  supervisor.onPolled = watchCanaries(supervisor, publisher, log)
  try {
    const admin = await openAdmin(config, supervisor, publisher, log)
    return {
      port: supervisor.dataPort,
      adminPort: admin.port,
      snapshots: () => supervisor.snapshots(),
      reload: async () => publisher.reload(readRepository(config.repository), () => supervisor.reload()),
      stop: async () => {
        // The admin port stays open until the end: readiness says no while the lanes drain.
        await supervisor.stop()
        await admin.close()
      },
    }
  } catch (error) {
    await supervisor.stop()
    throw error
  }
}

/** With a key that all lanes of this start share, where none is configured. */
function withDecisionKey(config: Config): Config {
  return config.decisionKey.length > 0 ? config : { ...config, decisionKey: [randomBytes(32).toString('base64')] }
}

/** What takes canaries off that pass their limits, whenever it is called. */
function watchCanaries(supervisor: Supervisor, publisher: Publisher, log: Log): () => void {
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
      .stop(supervisor, stops)
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
