import type { Config } from './config'
import type { Log } from './log'
import { openNode } from './node-transport'
import { followTls } from './tls'
import type { Transport, TransportOptions } from './transport'
import { loadUws, openUws } from './uws-transport'

/** Whether uWebSockets.js can be used here: null, or why not. */
export function uwsProblem({ uwsSha256 }: Pick<Config, 'uwsSha256'>): string | null {
  try {
    loadUws(uwsSha256)
    return null
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0]! : String(error)
  }
}

/** The transport that is configured; `auto` falls back to node:http and ws with one warning. */
export async function openTransport(
  config: Pick<Config, 'transport' | 'uwsSha256'>,
  options: TransportOptions,
  log: Log,
): Promise<Transport> {
  const transport = await openKind(config, options, log)
  if (options.tls === null) return transport
  const unfollow = followTls(options.tls.files, log, (texts) => transport.renewTls(texts))
  const stopListening = transport.stopListening.bind(transport)
  transport.stopListening = () => {
    unfollow()
    stopListening()
  }
  return transport
}

async function openKind(
  config: Pick<Config, 'transport' | 'uwsSha256'>,
  options: TransportOptions,
  log: Log,
): Promise<Transport> {
  if (config.transport === 'node') return openNode(options)
  const problem = uwsProblem(config)
  if (problem === null) return openUws(loadUws(config.uwsSha256), options)
  if (config.transport === 'uws') throw new Error(`MILLRACE_TRANSPORT=uws: uWebSockets.js does not load: ${problem}`)
  log.warn(
    `uWebSockets.js does not load (${problem}); serving with node:http and ws, at a fraction of its rate. ` +
      `Run on a platform that it supports, or set MILLRACE_TRANSPORT=node to accept it`,
  )
  return openNode(options)
}
