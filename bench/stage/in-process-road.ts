import { strict as assert } from 'node:assert'
import { inlineExports, systemClock } from '@millrace/base'
import type { Ended, Pool } from '@millrace/pool'
import { readConfig } from '@millrace/server'
import type { Rules } from '@millrace/rules'
import { anybody, Road, Versions, type Caller, type Party, type Principal, roadPool } from '@millrace/server/in-process'
import type { RunTask } from '@millrace/worker'
import { arena, signature } from './fixtures'

const batchRequests = 256
export const oneObjective: Rules = { objectives: { 'mlp-64': { default: 'mlp-64@1' } } }

/**
 * The front thread's road without sockets and without a worker: batches come back as they went. What it costs is
 * what the road adds to receiving, scoring and sending.
 */
export class InProcessRoad {
  private readonly road: Road
  private replies = 0
  private served = 0
  private done: () => void = () => undefined
  private deferred: (() => void)[] = []
  private readonly party: Party
  private readonly caller: Caller

  /** @param who asks, by these rules */
  constructor(who: Principal = anybody, rules = oneObjective) {
    const party = { who, inFlight: 0, arenaBytes: 0 }
    this.party = party
    this.caller = {
      party,
      closed: false,
      lastRun: -1,
      reply: (message, _item, code) => {
        assert(code === 0)
        this.replies += message.length > 0 ? 1 : 0
      },
      cork: (send) => send(),
    }
    // Those that came before a step is measured wait for those that come then.
    const env = { MILLRACE_DECISION_KEY: 'k'.repeat(44), MILLRACE_DEADLINE_MS_DEFAULT: '3600000' }
    const config = readConfig(env, { repository: 'none' })
    inlineExports()
    const pool = {
      name: 'none',
      free: 1,
      hasRoom: () => false,
      run: (_: RunTask, __: number, ended: Ended) => void (this.done = () => ended(null)),
    } as unknown as Pool
    const pools = [roadPool(pool)]
    const versions = new Versions(arena, config, pools)
    const folder = { name: 'mlp-64', version: 1, path: '', workflowFile: null }
    const version = versions.add({ index: 0, folder, remark: null, doomed: null })
    const description = {
      name: 'mlp-64',
      version: 1,
      state: 'ready' as const,
      reason: null,
      signature,
      batchRowsMax: 512,
      batchWaitUs: 0,
      models: [],
      facts: [],
      golden: null,
      warmed: false,
      loadMs: 0,
    }
    versions.settle(version, [description])
    this.road = new Road({
      config,
      arena,
      versions,
      routed: versions.compile(rules, 1),
      clock: { ...systemClock, defer: (turn) => void this.deferred.push(turn) },
      pools,
    })
    this.road.close()
  }

  /** Decides only; the reply holds until the next one. */
  resolve(message: Uint8Array<ArrayBuffer>): Uint8Array {
    let reply!: Uint8Array
    const { party } = this
    const caller: Caller = {
      party,
      closed: false,
      lastRun: -1,
      reply: (one) => void (reply = one),
      cork: (send) => send(),
    }
    this.road.serve(caller, 0, message.buffer, 0, message.length, true)
    return reply
  }

  /** Serves one request; with every 256th the batch runs and is answered. */
  serveOne(message: Uint8Array<ArrayBuffer>): number {
    this.road.serve(this.caller, 0, message.buffer, 0, message.length, false)
    if (++this.served < batchRequests) return batchRequests
    this.endTurn()
    this.done()
    this.endTurn()
    assert.equal(this.replies, batchRequests)
    this.served = this.replies = 0
    return batchRequests
  }

  private endTurn(): void {
    while (this.deferred.length > 0) this.deferred.pop()!()
  }
}
