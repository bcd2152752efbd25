import { strict as assert } from 'node:assert'
import { setFlagsFromString } from 'node:v8'
import Benchmark from 'benchmark'
import { inlineExports } from '@millrace/base'
import { admit } from '@millrace/batch'
import type { Decider } from '@millrace/client'
import { lookUp } from '@millrace/rules'
import { laneFlags, principal } from '@millrace/server/in-process'
import {
  copyInputs,
  decodeReply,
  encodeReply,
  intakeOf,
  Matched,
  matchInputs,
  RequestView,
  verifyRequest,
} from '@millrace/wire'
import { table } from '../report'
import {
  arena,
  askedRequest,
  deciderBy,
  message,
  queueOf,
  rulesOfFive,
  scored,
  signature,
  tableBy,
  tableOf,
  tableOfTen,
} from './fixtures'
import { InProcessRoad, oneObjective } from './in-process-road'

export interface StageResult {
  readonly name: string
  readonly nanoseconds: number
  /** Relative margin of error, percent. */
  readonly margin: number
  /** What one run of the step must give: a wrong step is not fast. */
  readonly checksum: number
}

interface Step {
  readonly name: string
  readonly run: () => number
  readonly expected: number
}

const intake = intakeOf(signature)
const words = new Uint32Array(arena.memory)

/**
 * Steps of the road, each alone and then together, on one thread; those of a client come last: with its own kind of
 * requests the code that decides would be one for two kinds from there on.
 */
function steps(decider: Decider): Step[] {
  const request = message()
  const buffer = request.buffer
  const view = new RequestView()
  const matched = new Matched()
  const small = tableOf(1, true)
  const large = tableOf(10_000, true)
  const queue = queueOf()
  const road = new InProcessRoad()
  const shop = principal('shop', 0)
  const known = new InProcessRoad(shop)
  const limited = new InProcessRoad(shop, {
    ...oneObjective,
    limits: [
      { id: 'rate', tenant: '*', requests_per_second: 1e9, burst: 1e9 },
      { id: 'at once', tenant: 'shop', requests_in_flight: 1e6 },
      { id: 'all', objectives: ['mlp-64'], requests_in_flight: 1e6 },
    ],
  })
  const named = message('mlp-64', undefined, { tenant: 'shop' })
  const { resolved } = decodeReply(road.resolve(request))
  const decided = message('mlp-64', resolved!.decision!)
  assert(verifyRequest(buffer, 0, request.length, view))
  assert(matchInputs(view, intake, matched))
  const other = new RequestView()
  const five = tableBy(rulesOfFive)
  const ten = tableOfTen()
  const ask = new RequestView()
  const withContext = message('mlp-64', undefined, askedRequest.context)
  assert(verifyRequest(withContext.buffer, 0, withContext.length, ask))
  const look = (rules: typeof small): number => rules.routes[lookUp(rules, view)]!.version
  const admitOne = (): number => {
    let batch = queue.room(1, 0, 0)!
    if (batch.rows === 511) {
      queue.free(queue.take(0))
      batch = queue.room(1, 0, 0)!
    }
    const row = batch.rows
    const r = admit(batch, 0, 1, 0, Infinity)
    copyInputs(view, intake, matched, arena.bytes, words, batch.offset, queue.layout.inputs, 0, 1, row, r, 0, 0)
    // The last of the 64 floats, as it lies in the slab.
    return words[((batch.offset + queue.layout.inputs[0]!) >>> 2) + row * 64 + 63]!
  }
  const last = new Uint32Array(Float32Array.of(63 / 64).buffer)[0]!
  return [
    {
      name: 'verify',
      run: () => (verifyRequest(buffer, 0, request.length, other) ? other.dataLength[0]! : -1),
      expected: 256,
    },
    { name: 'look up, 1 rule', run: () => look(small), expected: 1 },
    { name: 'look up, 10,000 rules', run: () => look(large), expected: 1 },
    {
      name: 'look up, past three conditions, an experiment and a canary',
      run: () => (five.routes[lookUp(five, ask)]!.rule === 'default' ? 1 : 0),
      expected: 1,
    },
    {
      name: 'look up, the last of ten rules, with conditions',
      run: () => (ten.routes[lookUp(ten, ask)]!.rule === 'canary' ? 1 : 0),
      expected: 1,
    },
    { name: 'match', run: () => (matchInputs(view, intake, matched) ? matched.rows : -1), expected: 1 },
    { name: 'admit and copy to the slab', run: admitOne, expected: last },
    {
      name: 'verify + look up + match + admit',
      run: () => {
        verifyRequest(buffer, 0, request.length, view)
        const version = look(large)
        matchInputs(view, intake, matched)
        return admitOne() + version
      },
      expected: last + 1,
    },
    {
      name: 'reply, encoded from scratch',
      run: () => encodeReply(scored).length,
      expected: encodeReply(scored).length,
    },
    { name: 'the whole road, 256 requests a batch, for each', run: () => road.serveOne(request), expected: 256 },
    { name: 'the same, from a tenant that showed its key', run: () => known.serveOne(request), expected: 256 },
    { name: 'the same, with its name in each request', run: () => known.serveOne(named), expected: 256 },
    { name: 'the same, and three limits of the rules', run: () => limited.serveOne(named), expected: 256 },
    { name: 'the whole road, each with a signed decision', run: () => road.serveOne(decided), expected: 256 },
    {
      name: 'resolve: decide, sign, reply',
      run: () => road.resolve(request).length,
      expected: road.resolve(request).length,
    },
    {
      name: 'a client decides by itself, past three conditions, an experiment and a canary',
      run: () => (decider.decide(askedRequest)!.rule === 'default' ? 1 : 0),
      expected: 1,
    },
  ]
}

/** With `smoke`, every step runs a thousand times and is only checked. */
export async function benchStage({
  smoke,
  onProgress,
}: {
  smoke: boolean
  onProgress: (line: string) => void
}): Promise<StageResult[]> {
  // As in a lane.
  for (const flag of laneFlags) setFlagsFromString(flag)
  inlineExports()
  const decider = await deciderBy(rulesOfFive)
  try {
    return steps(decider).map((step) => timed(step, smoke, onProgress))
  } finally {
    await decider.close()
  }
}

function timed({ name, run, expected }: Step, smoke: boolean, onProgress: (line: string) => void): StageResult {
  for (let i = 0; i < 1000; i++) assert.equal(run(), expected, `${name} gives another result`)
  if (smoke) return { name, nanoseconds: NaN, margin: NaN, checksum: expected }
  let sink = 0
  const bench = new Benchmark(name, () => (sink += run()), { maxTime: 1 })
  bench.run()
  assert(sink > 0 && sink % expected === 0, `${name} gives another result`)
  const nanoseconds = bench.stats.mean * 1e9
  onProgress(`${name}: ${nanoseconds.toFixed(0)} ns`)
  return { name, nanoseconds, margin: bench.stats.rme, checksum: expected }
}

export function stageTable(results: readonly StageResult[]): string {
  return table([
    ['step', 'ns', '+- %', 'checksum'],
    ...results.map(({ name, nanoseconds, margin, checksum }) => [name, nanoseconds, margin, String(checksum)]),
  ])
}
