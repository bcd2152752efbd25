import { join } from 'node:path'
import { stayApart } from '@millrace/load'
import { readTopology } from '@millrace/pool'
import { openLog, readConfig, startServer } from '@millrace/server'

/* Millrace as it is shipped, in a process of its own, on the repository of the benches. */
async function main(): Promise<void> {
  const defaults = {
    MILLRACE_PORT: '0',
    MILLRACE_ADMIN_PORT: '0',
    MILLRACE_LOG_LEVEL: 'warn',
    MILLRACE_POOL_CPU_THREADS: '1',
    // The load needs its CPU too, and the echo is not pinned either.
    MILLRACE_PINNING: 'off',
  }
  const config = readConfig(
    { ...defaults, ...process.env },
    { repository: join(__dirname, '../../repository'), topology: readTopology() },
  )
  // After the configuration, which counts all CPUs, and before lanes, which have this process's.
  const notApart = stayApart()
  const server = await startServer(config, openLog('warn'))
  process.send!({ port: server.port, adminPort: server.adminPort, notApart })
  process.on('message', () => void server.snapshots().then((snapshots) => process.send!({ snapshots })))
  process.on('disconnect', () => void server.stop().then(() => process.exit()))
}

void main()
