import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openLog, startServer, type LaneSnapshot, type Server } from '@millrace/server'
import { configuration } from './configuration'
import { paint, print, progress } from './output'

/** Longest body that goes into the curl line itself. */
const inlineBytesMax = 500

/** Serves until SIGTERM or SIGINT, then answers what was accepted and ends; SIGHUP replaces the lanes. */
export async function serve({ repository, dev }: { repository?: string; dev?: boolean }): Promise<void> {
  const config = configuration(repository)
  const log = openLog(config.logLevel)
  progress(`loading ${config.repository} ...`)
  const server = await startServer(config, log, { dev: dev === true })
  const url = `${config.tlsCert === '' ? 'http' : 'https'}://${config.host.includes(':') ? `[${config.host}]` : config.host}:${server.port}`
  const [lane] = await server.snapshots()
  print(`${paint('bold', 'Millrace')} serves at ${paint('green', url)}`)
  print(
    `  POST ${url}/v1/score    GET ${url}/v1/stream (WebSocket)    admin ${config.adminTlsCert === '' ? 'http' : 'https'}://${config.adminHost}:${server.adminPort}/metrics`,
  )
  if (lane !== undefined) printObjectives(lane)
  print(`\ntry:\n  ${curl(url, config.repository)}\n`)

  if (dev === true) progress(`watching ${config.repository}: versions that change are loaded anew`)

  const stop = (signal: NodeJS.Signals): void => {
    // The second one is meant: whoever asks twice does not want to wait.
    process.once(signal, () => process.exit(130))
    progress(`${signal}: answering what was accepted, then stopping (again: at once)`)
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.fatal({ err: error }, 'the server did not stop')
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  // On a terminal it says that the terminal is gone, and nobody could stop the server any more.
  if (process.stdin.isTTY) process.once('SIGHUP', stop)
  else process.on('SIGHUP', () => void restart(server))
}

async function restart(server: Server): Promise<void> {
  progress('SIGHUP: replacing the lanes, one after the other')
  try {
    for (const { lane, pid, startMs } of await server.restart())
      progress(`lane ${lane} is process ${pid} now, after ${startMs} ms`)
  } catch (error) {
    progress(`the restart ended early: ${(error as Error).message}`)
  }
}

function printObjectives({ workflows, notReady, objectives }: LaneSnapshot): void {
  print('')
  for (const [objective, versions] of Object.entries(objectives))
    print(`  ${objective.padEnd(24)} ${versions.join(', ')}`)
  for (const { name, version, state, reason } of workflows)
    if (state === 'failed') print(`  ${paint('red', `${name}@${version} failed`)}: ${reason}`)
  if (notReady.length > 0) print(`  ${paint('yellow', 'not ready')}: ${notReady.join('; ')}`)
}

/** A line to paste: the first of the repository's example requests. */
function curl(url: string, repository: string): string {
  const folder = join(repository, 'requests')
  const file = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.json'))
        .sort()[0]
    : undefined
  const head = `curl -s ${url}/v1/score -H 'content-type: application/json' -d`
  if (file === undefined) return `${head} '{"objective": "...", "inputs": {}}'`
  const body = JSON.stringify(JSON.parse(readFileSync(join(folder, file), 'utf8')))
  return body.length > inlineBytesMax ? `${head} @${join(folder, file)}` : `${head} '${body.replaceAll("'", `'\\''`)}'`
}
