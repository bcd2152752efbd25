import type { Client } from '@millrace/client'
import { check, echoCase, plainOutputs } from './load-cases'
import type { Random } from './random'

export interface Traffic {
  /** Resolves with how many were answered; rejects when one was not answered as it should be. */
  stop(): Promise<number>
}

/** Echo requests on each client, one after the other, until they are stopped. */
export function traffic(random: Random, ...clients: readonly Client[]): Traffic {
  const stopping = new AbortController()
  let answered = 0
  const running = clients.map(async (client) => {
    do {
      const one = echoCase(random, random.whole(1, 9))
      const { outputs } = await client.score({ objective: 'echo', inputs: one.inputs, deadlineMs: 60_000 })
      check(one, { code: 'OK', outputs: plainOutputs(outputs) })
      answered++
    } while (!stopping.signal.aborted)
  })
  // Rejected where they are awaited.
  for (const one of running) one.catch(() => undefined)
  return {
    stop: async () => {
      stopping.abort()
      await Promise.all(running)
      return answered
    },
  }
}
