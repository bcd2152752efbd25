import type { Load } from '@millrace/load'

/** How hard a closed loop is. */
export interface Scenario {
  readonly name: string
  readonly transport: 'websocket' | 'http'
  readonly sockets: number
  readonly inFlight: number
}

export const scenarios: readonly Scenario[] = [
  { name: 'WebSocket, 4 x 256 in flight', transport: 'websocket', sockets: 4, inFlight: 256 },
  { name: 'WebSocket, 64 x 1 in flight', transport: 'websocket', sockets: 64, inFlight: 1 },
  { name: 'HTTP keep-alive, 64 x 1 in flight', transport: 'http', sockets: 64, inFlight: 1 },
  { name: 'HTTP keep-alive, 1 in flight', transport: 'http', sockets: 1, inFlight: 1 },
]

/** @param traffic a recording */
export function loadOf({ transport, sockets, inFlight }: Scenario, traffic: string, echo = false): Load {
  return { transport, sockets, inFlight, traffic, echo }
}
