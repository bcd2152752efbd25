import { strict as assert } from 'node:assert'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { Arena } from '@millrace/base'
import { makeSeats, type Ended, type Pool } from '@millrace/pool'
import { readConfig } from '@millrace/server'
import {
  anybody,
  Road,
  RoadDoor,
  RulesFeed,
  Versions,
  type Party,
  type Post,
  roadPool,
  type Socket,
} from '@millrace/server/in-process'
import { parseRules } from '@millrace/rules'
import type { RunTask } from '@millrace/worker'
import { createHandler, Thread } from '@millrace/worker/in-process'
import { readRepository, type VersionDescription } from '@millrace/workflow'
import { objectives, rules, type Signatures } from './requests'

const arenaBytes = 64 * 2 ** 20

/** A whole lane in one thread, without sockets: door, road, batches, worker, and workflows that echo. */
export class World {
  private constructor(
    readonly door: RoadDoor,
    readonly signatures: Signatures,
    private readonly road: Road,
    private readonly arena: Arena,
  ) {}

  static async open(): Promise<World> {
    const repository = join(__dirname, '../repository')
    // Decisions that requests bear hold for as long as anybody tries them.
    const env = { MILLRACE_DECISION_KEY: 'k'.repeat(44), MILLRACE_DECISION_SECONDS: '86400' }
    const config = readConfig(env, { repository })
    const arena = new Arena(arenaBytes, 4096)
    const thread = Thread.start({
      memory: arena.memory,
      repository,
      device: 'cpu',
      seats: makeSeats([[]]),
      engines: [],
      engineThreads: 1,
      facts: '',
      factsTimeoutMs: 100,
      memoryBytes: null,
    })
    const handler = createHandler(thread)
    const run = (task: RunTask, _: number, ended: Ended): void => void handler(task).then(() => ended(null), ended)
    const pool = { name: 'here', free: 2, run, hasRoom: () => false } as unknown as Pool
    const pools = [roadPool(pool)]
    const versions = new Versions(arena, config, pools)
    const signatures: Record<string, unknown> = {}
    for (const [index, folder] of readRepository(repository).versions.entries()) {
      const version = versions.add({ index, folder, remark: null, doomed: null })
      const entered = new Float64Array(new SharedArrayBuffer(24))
      const description = (await handler({ kind: 'load', version: index, folder, entered })) as VersionDescription
      assert.equal(description.state, 'ready', `${folder.name}: ${description.reason}`)
      versions.settle(version, [description])
      signatures[folder.name] = description.signature
    }
    assert.deepEqual(Object.keys(signatures).sort(), [...objectives].sort())
    const numbered = { version: 1, rules: rules as never }
    const routed = versions.compile(parseRules(rules), 1)
    const road = new Road({ config, arena, versions, routed, pools })
    const door = new RoadDoor(road, new RulesFeed(numbered), config)
    return new World(door, signatures as Signatures, road, arena)
  }

  /** Resolves when every request is answered and nothing of them is held. */
  async settled(): Promise<void> {
    const { road, arena } = this
    for (let turns = 0; road.calls.used > 0; turns++) {
      assert(turns < 100_000, `${road.calls.used} requests are not answered`)
      await turn()
    }
    assert.equal(arena.usedBlocks, 0, 'a slab is left')
  }

  /** What batches were here before is not what the next one may find. */
  soil(byte: number): void {
    assert.equal(this.arena.usedBlocks, 0)
    this.arena.bytes.fill(byte, 0, 2 ** 21)
  }

  close(): void {
    this.road.close()
  }
}

/** A WebSocket that keeps what it is sent. */
export class Ear implements Socket {
  lastRun = -1
  readonly closed = false
  readonly party: Party = { who: anybody, inFlight: 0, arenaBytes: 0 }
  readonly replies: Uint8Array[] = []
  readonly texts: string[] = []

  reply(message: Uint8Array): void {
    this.replies.push(new Uint8Array(message))
  }

  replyText(text: string): void {
    this.texts.push(text)
  }

  cork(send: () => void): void {
    send()
  }
}

/** A POST that keeps its answers: there must be one. */
export class Letter implements Post {
  closed = false
  readonly who = anybody
  inFlight = 0
  arenaBytes = 0
  readonly answers: { readonly status: string; readonly body: Uint8Array }[] = []

  constructor(
    readonly contentType: string,
    readonly dryRun: boolean,
  ) {}

  respond(status: string, _contentType: string, body: string | Uint8Array): void {
    this.answers.push({ status, body: new Uint8Array(Buffer.from(body as string)) })
    this.closed = true
  }

  cork(send: () => void): void {
    send()
  }
}
