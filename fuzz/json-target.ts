import { strict as assert } from 'node:assert'
import { brokenJson, validJson, type ValidJson } from './json-requests'
import { Random } from './random'
import { blockCases, CaseError, count, type Outcomes, type Target } from './target'
import { Ear, Letter, World } from './world'

const samplesPerBlock = 48

interface Asked {
  readonly n: number
  readonly bytes: Buffer
  /** Where it still is what it was made as. */
  readonly whole: ValidJson | null
  readonly way: 'socket' | 'score' | 'resolve'
}

type Reply = Readonly<Record<string, unknown>>

/** The JSON twin on the whole road, in two lanes whose batches differ; see `RoadTarget`. */
export class JsonTarget implements Target {
  private readonly random = new Random()

  private constructor(private readonly worlds: readonly [World, World]) {}

  static async open(): Promise<JsonTarget> {
    return new JsonTarget([await World.open(), await World.open()])
  }

  async run(seed: number, block: number, outcomes: Outcomes): Promise<void> {
    const samples: ValidJson[] = []
    this.random.begin(~seed, block)
    for (let i = 0; i < samplesPerBlock; i++) samples.push(validJson(this.worlds[0].signatures, this.random))
    const cases = Array.from({ length: blockCases }, (_, i) => this.made(seed, block * blockCases + i, samples))
    await this.try(cases, outcomes)
  }

  async tryFile(bytes: Uint8Array): Promise<void> {
    const ways = ['socket', 'score', 'resolve'] as const
    const asked = ways.map((way, n) => ({ n, bytes: Buffer.from(bytes), whole: null, way }))
    await this.try(asked, new Map())
  }

  close(): void {
    for (const world of this.worlds) world.close()
  }

  private made(seed: number, n: number, samples: readonly ValidJson[]): Asked {
    const random = this.random.begin(seed, n)
    const sample = random.pick(samples)
    const times = random.below(4)
    const isList = random.once(8)
    const text = isList ? `[${sample.text},${random.pick(samples).text}]` : sample.text
    const bytes = brokenJson(text, random.pick(samples).text, times, random)
    const way = random.pick(['socket', 'score', 'score', 'resolve'] as const)
    return { n, bytes, whole: times === 0 && !isList ? sample : null, way }
  }

  private async try(asked: readonly Asked[], outcomes: Outcomes): Promise<void> {
    const [here, there] = this.worlds
    const one = await answers(here, asked, 0xa5)
    const other = (await answers(there, asked.toReversed(), 0x04)).reverse()
    for (const prototype of [Object.prototype, Array.prototype, String.prototype, Function.prototype])
      assert.deepEqual(Object.keys(prototype), [], 'a prototype has more than it had')
    asked.forEach((request, i) => {
      try {
        count(outcomes, outcomeOf(request, one[i]!, other[i]!))
      } catch (error) {
        throw new CaseError(request.n, request.bytes, error)
      }
    })
  }
}

async function answers(world: World, asked: readonly Asked[], soil: number): Promise<Reply[][]> {
  world.soil(soil)
  const all = asked.map((request) => {
    try {
      return ask(world, request)
    } catch (error) {
      throw new CaseError(request.n, request.bytes, error)
    }
  })
  await world.settled()
  return all.map((take) => take())
}

function ask({ door }: World, { bytes, way }: Asked): () => Reply[] {
  if (way === 'socket') {
    const ear = new Ear()
    door.text(ear, bytes.toString('utf8'))
    return () => ear.texts.map((text) => JSON.parse(text) as Reply)
  }
  const letter = new Letter('application/json', way === 'resolve')
  const body = new Uint8Array(bytes)
  door.post(letter, body.buffer, 0, body.length)
  return () => {
    assert.equal(letter.answers.length, 1, 'a POST has one answer')
    const reply = JSON.parse(Buffer.from(letter.answers[0]!.body).toString('utf8')) as Reply | Reply[]
    return Array.isArray(reply) ? reply : [reply]
  }
}

function outcomeOf({ whole, way }: Asked, replies: readonly Reply[], others: readonly Reply[]): string {
  assert.equal(replies.length, others.length, 'as many answers in both lanes')
  const late = [...replies, ...others].some(({ code }) => code === 'DEADLINE_EXCEEDED')
  if (!late)
    assert.deepEqual(others.map(timeless).sort(), replies.map(timeless).sort(), 'the same answers in both lanes')
  for (const { code, message } of replies)
    assert(
      !['INTERNAL', 'RESOURCE_EXHAUSTED', 'UNAVAILABLE'].includes(code as string),
      `${String(code)}: ${String(message)}`,
    )
  if (whole === null) return replies.length === 1 ? ((replies[0]!['code'] as string | undefined) ?? 'rules') : 'list'
  const [reply] = replies as [Reply]
  assert.deepEqual([replies.length, reply['code']], [1, 'OK'])
  if (way === 'resolve') return 'resolved'
  assert.deepEqual(reply['outputs'], whole.outputs)
  return 'echoed'
}

/** All of a reply but what a clock had a part in. */
function timeless({ timings_us: _, decision: __, ...reply }: Reply): string {
  return JSON.stringify(reply)
}
