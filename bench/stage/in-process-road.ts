import { strict as assert } from 'node:assert'
import type { Pool } from '@millrace/pool'
import { readConfig, Road, serveVersion, type Caller } from '@millrace/server'
import type { RunTask } from '@millrace/worker'
import { arena, signature, tableOf } from './fixtures'

const batchRequests = 256

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
  private readonly caller: Caller = {
    closed: false,
    reply: (message, _item, code) => {
      assert(code === 0)
      this.replies += message.length > 0 ? 1 : 0
    },
    cork: (send) => send(),
  }

  constructor() {
    const config = readConfig({}, { repository: 'none' })
    const version = serveVersion(
      {
        name: 'mlp-64',
        version: 1,
        state: 'ready',
        reason: null,
        signature,
        batchRowsMax: 512,
        batchWaitUs: 0,
        models: [],
        facts: [],
        golden: null,
        warmed: false,
        loadMs: 0,
      },
      0,
      arena,
      config,
      [0],
    )
    const pool = {
      name: 'none',
      free: 1,
      run: (_: RunTask) => ({ then: (done: () => void) => void (this.done = done) }),
    } as unknown as Pool
    this.road = new Road({
      config,
      arena,
      versions: [version],
      table: tableOf(1, false),
      defer: (turn) => void this.deferred.push(turn),
      pools: [{ pool, interactive: [version.interactive], bulk: [version.bulk] }],
    })
    this.road.close()
  }
  /** Serves one request; with every 256th the batch runs and is answered. */
  serveOne(message: Uint8Array<ArrayBuffer>): number {
    this.road.serve(this.caller, 0, message.buffer, 0, message.length, false)
    if (++this.served < batchRequests) return batchRequests
    while (this.deferred.length > 0) this.deferred.pop()!()
    this.done()
    assert.equal(this.replies, batchRequests)
    this.served = this.replies = 0
    return batchRequests
  }
}
