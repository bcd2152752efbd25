import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readFilms, repositoryFolder, sendTraffic } from '@millrace/demo'
import { explain, parseRules, type Rules } from '@millrace/rules'
import type { ShadowReport } from '@millrace/server'
import { readRepository, runRepository } from '@millrace/workflow'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { serve, stopServed, until, type Served } from '../support/served'

/* A model owner's repository, served: what a request is answered with is what its rows give offline. */

const random = new Random()
const repository = readRepository(repositoryFolder)
const rules: Rules = parseRules(JSON.parse(readFileSync(repository.rules!, 'utf8')))
const films = readFilms().map(({ id }) => id)
let served: Served

beforeAll(async () => {
  if (repository.facts === null) throw new Error('no facts: npm run build && npm run prepare-data -w @millrace/demo')
  served = await serve({ MILLRACE_POOL_CPU_THREADS: '2' }, repositoryFolder)
}, 60_000)
afterAll(stopServed)

interface Request {
  readonly objective: string
  readonly subject: string
  readonly inputs: Readonly<Record<string, unknown>>
}

interface Reply {
  readonly id: number
  readonly code: string
  readonly message?: string
  readonly workflow: string
  readonly version: number
  readonly rule: string
  readonly cell: string | null
  readonly outputs?: Readonly<Record<string, unknown>>
}

/** What the rules' own words say, without the compiled table. */
function decided({ objective, subject }: Request): { workflow: string; rule: string; cell: string | null } {
  return explain(rules, { objective, subject, context: {}, nowMs: Date.now() }).decision!
}

const subject = (): string => `account-${random.whole(0, 1200)}`
const list = <T>(from: number, to: number, make: () => T): T[] => Array.from({ length: random.whole(from, to) }, make)

const generated: Readonly<Record<string, (rowsMax: number) => Request>> = {
  'title-ranking': (rowsMax) => ({
    objective: 'title-ranking',
    subject: subject(),
    inputs: {
      account: subject(),
      title: list(1, rowsMax, () => (random.next() < 0.002 ? 'no-such-title-1900' : random.pick(films))),
    },
  }),
  'flight-delay': (rowsMax) => {
    const hour = list(1, rowsMax, () => Math.fround(random.next() * 24))
    const distance = hour.map(() => random.whole(50, 3000))
    return { objective: 'flight-delay', subject: subject(), inputs: { hour, distance } }
  },
  'sentence-embedding': (rowsMax) => ({
    objective: 'sentence-embedding',
    subject: subject(),
    inputs: {
      text: list(1, Math.min(6, rowsMax), () => `${random.pick(words)} ${random.pick(words)} ${random.text(8)}x`),
    },
  }),
}
const words = ['how old are you', 'the flight is late', 'a film about ships', 'fine', 'café au lait', 'HELLO']

/** How far a number may be from its offline twin: of two batches of other sizes, sums may be in another order. */
const tolerance = 1e-4

test.each<[string, number, number, number]>([
  ['title-ranking', 40, 1, 1],
  ['title-ranking', 60, 30, 24],
  ['title-ranking', 6, 500, 6],
  ['flight-delay', 60, 1, 1],
  ['flight-delay', 200, 40, 64],
  ['flight-delay', 8, 1500, 8],
  ['sentence-embedding', 8, 1, 1],
  ['sentence-embedding', 24, 6, 24],
])('%s: %d requests of up to %d rows, %d at a time, as offline', async (objective, count, rowsMax, concurrency) => {
  await compare(
    Array.from({ length: count }, () => generated[objective]!(rowsMax)),
    concurrency,
  )
})

test('the requests that are shown, all together, many times over', async () => {
  const folder = join(repositoryFolder, 'requests')
  const shown = readdirSync(folder).map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as Request)
  expect(shown.map(({ objective }) => objective).sort()).toEqual(Object.keys(rules.objectives).sort())
  await compare(Array.from({ length: 8 }, () => shown).flat(), 16)
})

test('each subject is in the cell that the rules say, by every way of asking', async () => {
  const subjects = Array.from({ length: 400 }, (_, i) => `account-${i}`)
  const requests = subjects.map((one) => ({
    objective: 'flight-delay',
    subject: one,
    inputs: { hour: [1], distance: [100] },
  }))
  const client = served.client()
  const scored = await ask(requests, 32)
  const resolved = (await served.post('/v1/resolve', JSON.stringify(requests))).body.toString('utf8')
  const cells: Record<string, number> = {}
  for (const [i, request] of requests.entries()) {
    const { workflow, rule, cell } = decided(request)
    const route = { workflow: 'flight-delay', version: Number(workflow.split('@')[1]), rule, cell }
    expect(scored[i]).toMatchObject({ code: 'OK', ...route })
    expect((JSON.parse(resolved) as Reply[])[i]).toMatchObject({ code: 'OK', ...route })
    cells[cell ?? rule] = (cells[cell ?? rule] ?? 0) + 1
    if (i % 20 > 0) continue
    expect(await client.resolve({ objective: 'flight-delay', subject: request.subject })).toMatchObject(route)
    const explained = await served.admin('POST', '/v1/explain', JSON.stringify(request))
    expect(JSON.parse(explained.body.toString('utf8'))).toMatchObject({ decision: { ...route, ready: true } })
  }
  // Four of ten each, and half of the other two, give or take five deviations.
  expect(Object.keys(cells).sort()).toEqual(['default', 'flight-delay-wider', 'network', 'regression'])
  for (const cell of ['network', 'regression']) expect(Math.abs(cells[cell]! - 160)).toBeLessThan(50)
  for (const rule of ['default', 'flight-delay-wider']) expect(Math.abs(cells[rule]! - 40)).toBeLessThan(30)
})

test('what the README has a newcomer watch: the experiment, the canary and the shadow, under the traffic', async () => {
  const url = `http://127.0.0.1:${served.server.port}`
  const { answered, failed } = await sendTraffic({ url, seconds: 3, perSecond: 200, seed: random.seed })
  expect(failed).toEqual({})
  const flights = answered.filter(({ objective }) => objective === 'flight-delay')
  expect(flights.map(({ workflow, rule, cell }) => [workflow, rule, cell]).sort()).toEqual([
    ['flight-delay@1', 'default', null],
    ['flight-delay@1', 'flight-delay-network', 'regression'],
    ['flight-delay@2', 'flight-delay-network', 'network'],
    ['flight-delay@3', 'flight-delay-wider', null],
  ])
  await until('each of the others is compared with version 3', async () => {
    const { body } = await served.admin('GET', '/v1/shadows')
    const { shadows } = JSON.parse(body.toString('utf8')) as { shadows: ShadowReport[] }
    const compared = shadows.filter(({ copies }) => copies.compared > 0)
    for (const { copy, codes, outputs } of compared) {
      expect([copy, codes]).toMatchObject(['flight-delay@3', [{ primary: 'OK', copy: 'OK' }]])
      expect(outputs['late']).toMatchObject({ not_finite: 0 })
      expect(outputs['late']!.mean).toBeGreaterThan(0)
      expect(outputs['late']!.max).toBeLessThan(1)
    }
    const primaries = new Set(compared.map(({ primary }) => primary))
    return (primaries.has('flight-delay@1') && primaries.has('flight-delay@2')) || [...primaries].join(', ')
  })
})

test('nothing is left of it', () => served.idle())

/** Asks, and compares with an offline run of each version over the requests that the rules give it. */
async function compare(requests: readonly Request[], concurrency: number): Promise<void> {
  const replies = await ask(requests, concurrency)
  const byVersion = new Map<string, number[]>()
  requests.forEach((request, i) => {
    const { workflow } = decided(request)
    byVersion.set(workflow, [...(byVersion.get(workflow) ?? []), i])
  })
  for (const [label, indexes] of byVersion) {
    const [name, version] = label.split('@') as [string, string]
    const answers = await runRepository(
      repositoryFolder,
      name,
      Number(version),
      indexes.map((i) => requests[i]!.inputs),
    )
    answers.forEach((answer, n) => {
      const i = indexes[n]!
      const reply = replies[i]!
      const { rule, cell } = decided(requests[i]!)
      expect(reply).toMatchObject({ code: answer.code, workflow: name, version: Number(version), rule, cell })
      if (answer.code !== 'OK') return expect(reply.message).toBe(answer.message)
      for (const [column, values] of Object.entries(answer.outputs)) {
        const given = numbers(reply.outputs![column])
        // Scores that are as good as equal may change places: ranks are those of the scores they came with.
        const expected = column === 'rank' ? ranksOf(numbers(reply.outputs!['score'])) : numbers(values)
        expect(given).toHaveLength(expected.length)
        const wrong = expected.findIndex((value, at) => !(Math.abs(given[at]! - value) <= tolerance))
        if (wrong >= 0) throw new Error(`${label} ${column}[${wrong}]: ${given[wrong]}, offline ${expected[wrong]}`)
      }
    })
  }
}

/** The replies in the order of the requests, of which so many are in flight at a time. */
async function ask(requests: readonly Request[], concurrency: number): Promise<Reply[]> {
  const socket = await RawSocket.open(served.server.port)
  for (const [i, request] of requests.entries()) {
    if (i >= concurrency) await socket.received(i - concurrency + 1)
    socket.send(JSON.stringify({ ...request, id: i + 1, deadline_ms: 30_000 }))
  }
  const replies = (await socket.received(requests.length)).map((one) => JSON.parse(one as string) as Reply)
  await socket.close()
  expect(new Set(replies.map(({ id }) => id)).size).toBe(requests.length)
  return replies.sort((a, b) => a.id - b.id)
}

function numbers(column: unknown): number[] {
  return (column as unknown[]).flat() as number[]
}

function ranksOf(scores: readonly number[]): number[] {
  const order = scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b)
  const ranks: number[] = []
  order.forEach((row, place) => (ranks[row] = place + 1))
  return ranks
}
