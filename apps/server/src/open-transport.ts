import type { Config } from './config'
import type { Log } from './log'
import { openNode } from './node-transport'
import { followTls } from './tls'
import type { Transport, TransportOptions } from './transport'
import { loadUws, openUws } from './uws-transport'

/** Whether uWebSockets.js can be used here: null, or why not. */
export function uwsProblem(): string | null {
  try {
    loadUws()
    return null
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0]! : String(error)
  }
}

/** The transport that is configured; `auto` falls back to node:http and ws with one warning. */
export async function openTransport(
  kind: Config['transport'],
  options: TransportOptions,
  log: Log,
): Promise<Transport> {
  const transport = await openKind(kind, options, log)
  if (options.tls === null) return transport
  const unfollow = followTls(options.tls.files, log, (texts) => transport.renewTls(texts))
  const stopListening = transport.stopListening.bind(transport)
  transport.stopListening = () => {
    unfollow()
    stopListening()
  }
  return transport
}

async function openKind(kind: Config['transport'], options: TransportOptions, log: Log): Promise<Transport> {
  if (kind === 'node') return openNode(options)
  const problem = uwsProblem()
  if (problem === null) return openUws(loadUws(), options)
  if (kind === 'uws') throw new Error(`MILLRACE_TRANSPORT=uws: uWebSockets.js does not load: ${problem}`)
  log.warn(
    `uWebSockets.js does not load (${problem}); serving with node:http and ws, at a fraction of its rate. ` +
      `Run on a platform that it supports, or set MILLRACE_TRANSPORT=node to accept it`,
  )
  return openNode(options)
}
