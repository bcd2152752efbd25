import { setTimeout as sleep } from 'node:timers/promises'
import { rssBytes, RunningLoad } from '@millrace/load'
import { figure } from '../report'
import { startMillrace } from '../servers'
import { inFolder, type Options } from '../suite'
import { mlp } from '../workloads/mlp'

export interface Idle {
  readonly connections: number
  /** Resident memory of the lane, for each connection; what the kernel keeps for a socket is not in it. */
  readonly bytesPerConnection: number
}

/** Connections that say nothing, after each has said something once. */
export function benchIdle(options: Options): Promise<Idle> {
  const connections = options.smoke ? 500 : 10_000
  return inFolder(async (folder) => {
    const { env, traffic } = await mlp.prepare(folder)
    const server = await startMillrace(env)
    const hold = async (sockets: number): Promise<RunningLoad> => {
      const arrivals = { kind: 'even', perSecond: sockets } as const
      const load = { transport: 'websocket', sockets, inFlight: 1, traffic, arrivals } as const
      const part = { ports: server.ports, part: 0, parts: 1, napMs: 0.1 }
      const running = await RunningLoad.start(load, part, (error) => options.say(error.message))
      while (running.replies < sockets) await sleep(20)
      running.pause()
      await sleep(options.smoke ? 100 : 2000)
      return running
    }
    try {
      const { lanePid } = await server.batches()
      // A fifth of them first: what their requests bring into memory is not the others'.
      const first = await hold(connections / 5)
      const before = rssBytes(lanePid)
      const others = await hold(connections)
      const after = rssBytes(lanePid)
      first.close()
      others.close()
      return { connections, bytesPerConnection: (after - before) / connections }
    } finally {
      await server.stop()
    }
  })
}

export function idleText({ connections, bytesPerConnection }: Idle): string {
  return `${figure(connections)} idle WebSockets: ${figure(bytesPerConnection)} bytes of resident memory each`
}
