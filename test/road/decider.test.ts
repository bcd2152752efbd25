import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Decider, type ScoreError } from '@millrace/client'
import { repositoryFolder } from '@millrace/demo'
import { compileRules, parseRules, versionsNamed, type PlainAsk, type RulesFile } from '@millrace/rules'
import { decodeReply, decodeReplyList, encodeRequest, encodeRequestList } from '@millrace/wire'
import { RandomRules, versions } from '../../libs/rules/test/random-rules'
import { fixtures, serve, stopServed, until, type Served } from '../support/served'

/* Clients that decide by themselves. */

const folder = mkdtempSync(join(tmpdir(), 'decider-'))
const open: Decider[] = []

afterAll(async () => {
  await Promise.all(open.map((decider) => decider.close()))
  await stopServed()
  rmSync(folder, { recursive: true })
})

async function decider(served: { readonly port: number }, file?: string, timeoutMs = 10_000): Promise<Decider> {
  const url = `http://127.0.0.1:${served.port}`
  const one = await Decider.open({ url, timeoutMs, ...(file === undefined ? {} : { file }) })
  open.push(one)
  return one
}

const own = parseRules(JSON.parse(readFileSync(join(repositoryFolder, 'rules.json'), 'utf8')))

async function publish(served: Served, rules: RulesFile): Promise<void> {
  const answer = await served.admin('POST', '/v1/rules', JSON.stringify({ rules }))
  if (answer.status !== 200) throw new Error(answer.body.toString('utf8'))
}

test('it decides as the server does, and is told at once when that changes', async () => {
  const served = await serve({ MILLRACE_STATE_FOLDER: join(folder, 'state-1') }, repositoryFolder)
  const mine = await decider(served.server)
  const client = served.client()
  const same = async (): Promise<void> => {
    for (let i = 0; i < 200; i++) {
      const request = { objective: 'flight-delay', subject: i % 9 === 0 ? BigInt(i) : `account-${i}` }
      const { decision: _, ...resolved } = await client.resolve(request)
      expect(mine.decide(request)).toEqual(resolved)
    }
    expect(mine.decide({ objective: 'no such' })).toBeNull()
  }
  expect([mine.rulesVersion, mine.connected, mine.ageMs]).toEqual([1, true, 0])
  await same()
  await publish(served, {
    ...own,
    experiments: [],
    canaries: [{ id: 'c', objectives: ['flight-delay'], workflow: 'flight-delay@2', percent: 30 }],
  })
  await until('the rules are told', () => Promise.resolve(mine.rulesVersion === 2 || `version ${mine.rulesVersion}`))
  await same()
})

test('it goes on without a server, says how old its rules are, and comes back', async () => {
  const file = join(folder, 'kept', 'rules.json')
  const served = await serve({ MILLRACE_STATE_FOLDER: join(folder, 'state-2') }, repositoryFolder)
  const { port } = served.server
  const mine = await decider(served.server, file)
  const before = mine.decide({ objective: 'flight-delay', subject: 'account-7' })
  await stopServed()
  await until('it notices', () => Promise.resolve(!mine.connected || 'connected'))
  expect(mine.decide({ objective: 'flight-delay', subject: 'account-7' })).toEqual(before)
  await until('they age', () => Promise.resolve(mine.ageMs > 20 || `${mine.ageMs} ms`))

  // Another process, started while there is no server.
  const other = await decider({ port }, file, 1_000)
  expect(other.decide({ objective: 'flight-delay', subject: 'account-7' })).toEqual(before)
  expect([other.connected, other.ageMs > 0]).toEqual([false, true])

  const again = await serve(
    { MILLRACE_PORT: String(port), MILLRACE_STATE_FOLDER: join(folder, 'state-2') },
    repositoryFolder,
  )
  await until('both are back', () => Promise.resolve((mine.connected && other.connected) || 'not yet'))
  expect(mine.ageMs).toBe(0)
  expect(again.server.port).toBe(port)
})

test('with neither a server nor a file it says so', async () => {
  await expect(decider({ port: 1 }, undefined, 200)).rejects.toMatchObject({ name: 'ScoreError', code: 'UNAVAILABLE' })
  writeFileSync(join(folder, 'broken.json'), '{"rules": ')
  await expect(decider({ port: 1 }, join(folder, 'broken.json'), 200)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})

test('rules that come by name alone decide as those that know every version', () => {
  const random = new RandomRules(Number(process.env['TEST_SEED'] ?? 7))
  for (let i = 0; i < 50; i++) {
    const rules = parseRules(random.rules())
    const table = compileRules(rules, versionsNamed(rules), 1, 0)
    const whole = compileRules(rules, versions, 1, 0)
    const plain = (routes: typeof table.routes) => routes.map(({ versionIndex: _, ...route }) => route)
    expect(plain(table.routes)).toEqual(plain(whole.routes))
    expect(table.program).toEqual(whole.program)
  }
})

/** A tenth of `TEST_CASES`, for each goes through sockets twice: 10^5 in CI, 10^6 by TEST_CASES=1e7. */
const cases = Number(process.env['TEST_CASES'] ?? 100_000) / 10
/** Few, so that every way to be refused comes up whatever the seed: of four sets of rules, one seed in thirty had none. */
const casesOfRules = 1000

test(`it decides as the server does, by any rules: ${cases} requests`, async () => {
  const repository = join(folder, 'random')
  for (const { name, version } of versions)
    cpSync(join(fixtures, 'workflows/echo/1'), join(repository, 'workflows', folderOf(name), String(version)), {
      recursive: true,
    })
  const served = await serve({ MILLRACE_EXPLAIN_REQUESTS: '0' }, repository)
  const mine = await decider(served.server)
  const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  process.stderr.write(`seed ${seed}\n`)
  const seen = new Set<string>()
  for (let c = 0, run = seed; c < cases; c += casesOfRules, run++) {
    const random = new RandomRules(run)
    const { shadows: _, ...rules } = random.rules()
    await publish(served, JSON.parse(JSON.stringify(rules, (__, value) => inFolders(value))) as RulesFile)
    const version = 2 + (run - seed)
    await until('the rules are told', () => Promise.resolve(mine.rulesVersion === version || `${mine.rulesVersion}`))
    const asks = Array.from({ length: casesOfRules }, () => withFolder(random.ask())).filter(
      // The server takes no tenant that is no text.
      ({ context }) => typeof (context['tenant'] ?? '') === 'string',
    )
    const items = asks.map(({ objective, subject, context, override }, i) =>
      encodeRequest({
        id: BigInt(i),
        objective,
        context,
        dryRun: true,
        ...(subject === null ? {} : { subject }),
        ...(override === null || override === undefined ? {} : { override }),
      }),
    )
    const answer = await served.post('/v1/resolve', encodeRequestList(items), 'application/x-flatbuffers')
    const replies = decodeReplyList(answer.body).map((reply) => decodeReply(reply))
    expect(replies).toHaveLength(asks.length)
    for (const [i, { code, route }] of replies.entries()) {
      const theirs = JSON.stringify(code === 'OK' ? route : code)
      const own = JSON.stringify(decidedBy(mine, asks[i]!))
      if (theirs !== own) throw new Error(`seed ${run}: ${JSON.stringify(asks[i])}: server ${theirs}, client ${own}`)
      seen.add(code === 'OK' ? route!.rule.replace(/-.*/, '') : code)
    }
  }
  expect([...seen].sort()).toEqual(['INVALID_ARGUMENT', 'NOT_FOUND', 'PERMISSION_DENIED', 'default', 'rule'])
}, 900_000)

/** Folders of workflows have plain names. */
const folderOf = (name: string): string => name.replace('título', 'titulo')
const inFolders = (value: unknown): unknown =>
  typeof value === 'string' && value.startsWith('título@') ? folderOf(value) : value
function withFolder(ask: PlainAsk): PlainAsk {
  const { override } = ask
  if (!override || !('workflow' in override)) return ask
  return { ...ask, override: { ...override, workflow: folderOf(override.workflow) } }
}

function decidedBy(mine: Decider, { objective, subject, context, override = null }: PlainAsk): unknown {
  try {
    const decided = mine.decide({ objective, subject, context, override })
    if (decided === null) return 'NOT_FOUND'
    const { workflow, version, rule, cell, rulesVersion } = decided
    return { workflow, version, rule, cell, rulesVersion }
  } catch (error) {
    return (error as ScoreError).code
  }
}
