import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Client, ResolveAnswer } from '@millrace/client'
import { repositoryFolder } from '@millrace/demo'
import type { RulesFile } from '@millrace/rules'
import { Random } from '../support/random'
import { serve, stopServed, until, type Served } from '../support/served'

/* What a resolve says, signed, and borne by later requests. */

const root = mkdtempSync(join(tmpdir(), 'decision-'))
let folders = 0

afterEach(stopServed)
afterAll(() => rmSync(root, { recursive: true }))

function rules(cells: readonly { name: string; weight: number; workflow: string }[]): RulesFile {
  return {
    attributes: { country: 'text' },
    objectives: { delay: { default: 'delay@1' }, other: { default: 'delay@1' } },
    conditions: [{ id: 'swiss', objectives: ['delay'], when: { country: 'CH' }, workflow: 'delay@2' }],
    experiments: [{ id: 'network', objectives: ['delay'], cells: [...cells] }],
  }
}
const cells = [
  { name: 'old', weight: 50, workflow: 'delay@1' },
  { name: 'new', weight: 50, workflow: 'delay@2' },
]

function repository(): string {
  const folder = join(root, String(folders++))
  mkdirSync(folder)
  cpSync(join(repositoryFolder, 'workflows', 'flight-delay'), join(folder, 'workflows', 'delay'), { recursive: true })
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules(cells)))
  return folder
}

const one = { dtype: 'f32' as const, values: [1], shape: [1] }
const inputs = { hour: one, distance: one }
const account = { objective: 'delay', subject: 'account-2' }

async function publish(served: Served, file: RulesFile): Promise<void> {
  const answer = await served.admin('POST', '/v1/rules', JSON.stringify({ rules: file }))
  expect([answer.status, answer.body.toString('utf8')]).toEqual([200, expect.anything()])
}

/** The words of a route. */
function words({ workflow, version, rule, cell }: { [word: string]: unknown }): unknown[] {
  return [workflow, version, rule, cell]
}

/** The route that answered, or why none did. */
async function scored(client: Client, decision: ResolveAnswer, more: object = {}): Promise<unknown> {
  try {
    return (await client.score({ ...account, inputs, decision, ...more })).route
  } catch (error) {
    return (error as Error).message
  }
}

test.each(['http', 'websocket'] as const)('over %s a decision holds where another would be made', async (transport) => {
  const served = await serve({}, repository())
  const client = served.client({ transport })
  const decision = await client.resolve(account)
  expect(words({ ...decision })).toEqual(['delay', 2, 'network', 'new'])
  expect([decision.routingKey, decision.decision!.length]).toEqual(['delay@2', 56])

  const swiss = { context: { country: 'CH' } }
  expect((await client.score({ ...account, ...swiss, inputs })).route).toMatchObject({ rule: 'swiss' })
  expect(await scored(client, decision, swiss)).toEqual({
    ...{ workflow: 'delay', version: 2, rule: 'network', cell: 'new', rulesVersion: 1 },
  })
  // Of numbers and of nobody as well.
  for (const whose of [{ subject: 2n ** 64n - 1n }, { subject: undefined }]) {
    const own = await client.resolve({ objective: 'delay', ...(whose as { subject: bigint }) })
    expect(await scored(client, own, whose)).toMatchObject({ rule: own.rule, cell: own.cell })
  }
  // A decision is not made of a decision: it would hold for ever.
  expect(await client.resolve({ ...account, decision })).toMatchObject({ routingKey: 'delay@2', decision: null })
})

test('the JSON twin, dry runs on the wire', async () => {
  const served = await serve({}, repository())
  const values = { hour: [1], distance: [1] }
  const asked = { ...account, context: { country: 'CH' } }
  const { body } = await served.json({ ...account, dry_run: true })
  const { routing_key, decision, ...route } = body as Record<string, unknown>
  expect([routing_key, route]).toEqual([
    'delay@2',
    { code: 'OK', workflow: 'delay', version: 2, rule: 'network', cell: 'new', rules_version: 1 },
  ])
  expect((await served.json({ ...asked, inputs: values, decision })).body).toMatchObject({
    code: 'OK',
    rule: 'network',
  })
  expect((await served.json({ ...asked, inputs: values })).body).toMatchObject({ code: 'OK', rule: 'swiss' })
  expect((await served.json({ ...account, inputs: values })).body).not.toHaveProperty('decision')
  expect(await served.json({ ...account, inputs: values, decision: 'AAAA' })).toMatchObject({
    status: 401,
    body: { code: 'UNAUTHENTICATED', message: expect.stringMatching(/^decision: was changed/) },
  })
})

test('what was changed in any bit is refused, and what is of others', async () => {
  const random = new Random()
  const served = await serve({}, repository())
  const client = served.client()
  const decision = await client.resolve(account)
  const bits = decision.decision!.length * 8
  const forged = Array.from({ length: bits }, (_, bit) => {
    const bytes = Uint8Array.from(decision.decision!)
    bytes[bit >>> 3]! ^= 1 << (bit & 7)
    return bytes
  })
  for (let i = 0; i < 200; i++) {
    const bytes = Uint8Array.from(decision.decision!)
    for (let n = random.whole(1, 8); n > 0; n--) bytes[random.whole(0, bytes.length - 1)] = random.whole(0, 255)
    if (!Buffer.from(bytes).equals(decision.decision!)) forged.push(bytes)
    forged.push(bytes.subarray(0, random.whole(1, 55)), Uint8Array.of(...bytes, 0))
  }
  const told = await Promise.all(forged.map((bytes) => scored(client, { ...decision, decision: bytes })))
  for (const [i, one] of told.entries())
    if (!/^(UNAUTHENTICATED: decision: was changed|INVALID_ARGUMENT: decision: was made for another)/.test(String(one)))
      throw new Error(`forged ${i}, seed ${random.seed}: ${JSON.stringify(one)}`)
  expect(told.filter((one) => String(one).startsWith('UNAUTHENTICATED')).length).toBeGreaterThan(bits / 2)

  const another = 'INVALID_ARGUMENT: decision: was made for another'
  expect(await scored(client, decision, { subject: 'account-3' })).toBe(`${another} subject; resolve for this one`)
  expect(await scored(client, decision, { subject: undefined })).toBe(`${another} subject; resolve for this one`)
  expect(await scored(client, decision, { objective: 'other' })).toBe(`${another} objective; resolve for this one`)
  expect(await scored(client, decision, { override: { workflow: 'delay', version: 1 } })).toBe(
    'INVALID_ARGUMENT: decision: the request has an override too; give one of them',
  )
  expect(await scored(client, decision)).toMatchObject({ rule: 'network' })
})

test('it holds on every lane, and on none that is started anew', async () => {
  const folder = repository()
  const served = await serve({ MILLRACE_LANES: '2' }, folder)
  const decision = await served.client().resolve(account)
  await until('each lane answered by it', async () => {
    // The kernel gives each connection to a lane.
    await Promise.all(
      Array.from({ length: 16 }, async () =>
        expect(await scored(served.client(), decision)).toMatchObject({ cell: 'new' }),
      ),
    )
    const lanes = await served.server.snapshots()
    return (
      lanes.every(({ requests }) => requests.some(({ rule, count }) => rule === 'network' && count > 4)) || 'not yet'
    )
  })
  // A lane that is started again has the key of the server.
  const { pid } = (await served.server.snapshots())[0]!
  process.kill(pid, 'SIGKILL')
  await until('both lanes are back', async () => {
    const lanes = await served.server.snapshots()
    return (lanes.length === 2 && lanes.every((lane) => lane.pid !== pid)) || 'not yet'
  })
  for (let i = 0; i < 16; i++) expect(await scored(served.client(), decision)).toMatchObject({ cell: 'new' })
  await stopServed()
  const again = await serve({}, folder)
  expect(await scored(again.client(), decision)).toMatch(/^UNAUTHENTICATED/)
})

test('keys are rotated: a new one signs, the old ones are taken until they are left out', async () => {
  const [first, second] = ['a'.repeat(32), 'b'.repeat(40)]
  const of = async (keys: string): Promise<Client> =>
    (await serve({ MILLRACE_DECISION_KEY: keys }, repository())).client()
  const [old, both, young] = [await of(first!), await of(`${second},${first}`), await of(second!)]
  const [byOld, byBoth] = [await old.resolve(account), await both.resolve(account)]
  expect(await scored(both, byOld)).toMatchObject({ cell: 'new' })
  expect(await scored(young, byBoth)).toMatchObject({ cell: 'new' })
  expect(await scored(young, byOld)).toMatch(/^UNAUTHENTICATED/)
  expect(await scored(old, byBoth)).toMatch(/^UNAUTHENTICATED/)
}, 30_000)

test('it holds for its time', async () => {
  const served = await serve({ MILLRACE_DECISION_SECONDS: '1' }, repository())
  const client = served.client()
  const decision = await client.resolve(account)
  expect(await scored(client, decision)).toMatchObject({ cell: 'new' })
  await delay(2100)
  expect(await scored(client, decision)).toMatch(
    /^FAILED_PRECONDITION: decision: was made [23] s ago, holds for 1 \(MILLRACE_DECISION_SECONDS\); resolve again$/,
  )
})

test('a publish: what the rules still have holds, what they took away is decided again', async () => {
  const served = await serve({}, repository())
  const client = served.client()
  const decision = await client.resolve(account)
  // Nobody new comes into the cell.
  await publish(
    served,
    rules([
      { ...cells[0]!, weight: 100 },
      { ...cells[1]!, weight: 0 },
    ]),
  )
  expect((await client.score({ ...account, inputs })).route).toMatchObject({ cell: 'old', rulesVersion: 2 })
  expect(await scored(client, decision)).toMatchObject({ cell: 'new', version: 2, rulesVersion: 2 })
  // The cell gets another version.
  await publish(served, rules([cells[0]!, { ...cells[1]!, workflow: 'delay@1' }]))
  expect(await scored(client, decision)).toMatchObject({ cell: 'new', version: 1, rulesVersion: 3 })
  // The cell is gone.
  await publish(served, rules([cells[0]!]))
  expect(await scored(client, decision)).toMatchObject({ cell: 'old', version: 1, rulesVersion: 4 })
  await publish(served, rules(cells))
  expect(await scored(client, decision)).toMatchObject({ cell: 'new', version: 2, rulesVersion: 5 })
})
