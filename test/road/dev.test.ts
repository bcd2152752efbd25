import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client, type ScoreError } from '@millrace/client'
import { until } from '../support/served'

/* `millrace serve --dev`: a change of the repository is served when it is good, and told when it is not. */

const bin = join(__dirname, '../../apps/cli/bin/millrace.js')
const plainEnv = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_')))

interface Dev {
  readonly process: ChildProcess
  readonly client: Client
  /** Messages of the log. */
  readonly logged: string[]
}

let repository: string
const servers: Dev[] = []
const busy = { yes: false }

beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), 'dev-'))
})
afterEach(async () => {
  busy.yes = false
  for (const { process, client } of servers.splice(0)) {
    await client.close()
    const gone = new Promise((resolve) => process.once('exit', resolve))
    if (process.exitCode === null && process.kill('SIGTERM')) await gone
  }
  rmSync(repository, { recursive: true })
})

function edit(body: string, file = 'workflow.ts'): void {
  const folder = join(repository, 'workflows/times/1')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, file), body)
}

function times(factor: string): string {
  return `import { column, defineWorkflow } from '@millrace/workflow'

export default defineWorkflow({
  inputs: { n: column('f32') },
  outputs: { y: column('f32') },
  postprocess({ rows, inputs, outputs }) {
    for (let i = 0; i < rows; i++) outputs.y[i] = inputs.n[i]! * ${factor}
  },
})
`
}

async function serveDev(env: Record<string, string> = {}): Promise<Dev> {
  const server = spawn(process.execPath, [bin, 'serve', '--dev', '-r', repository], {
    env: { ...plainEnv, MILLRACE_PORT: '0', MILLRACE_ADMIN_PORT: '0', MILLRACE_ARENA_BYTES: '32MiB', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const logged: string[] = []
  let [out, err] = ['', '']
  server.stderr.on('data', (piece: Buffer) => {
    err += piece.toString()
    const lines = err.split('\n')
    err = lines.pop()!
    for (const line of lines) logged.push(line.startsWith('{') ? (JSON.parse(line) as { msg: string }).msg : line)
  })
  server.stdout.on('data', (piece: Buffer) => (out += piece.toString()))
  await until('it watches', async () => {
    if (server.exitCode !== null) throw new Error(`serve ended: ${logged.join('\n')}`)
    return Promise.resolve(logged.some((line) => line.startsWith('watching')) || logged.join('\n'))
  })
  const dev = { process: server, client: new Client({ url: /serves at (http:\S+)/.exec(out)![1]! }), logged }
  servers.push(dev)
  return dev
}

async function answer({ client }: Dev): Promise<number> {
  const { outputs } = await client.score({ objective: 'times', inputs: { n: Float32Array.of(3) } })
  return (outputs['y'] as Float32Array)[0]!
}

function says({ logged }: Dev, pattern: RegExp): Promise<void> {
  return until(`the log says ${pattern}`, () =>
    Promise.resolve(logged.some((line) => pattern.test(line)) || logged.join('\n')),
  )
}

test('a good edit is served, a broken one is told with its place, and no request fails meanwhile', async () => {
  edit(times('2'))
  const dev = await serveDev({ MILLRACE_LANES: '2', MILLRACE_PORT: '0' })
  expect(await answer(dev)).toBe(6)

  const answers = new Set<number>()
  const failures: unknown[] = []
  busy.yes = true
  const load = (async () => {
    while (busy.yes) {
      await answer(dev).then(
        (one) => answers.add(one),
        (error) => failures.push(error),
      )
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })()

  edit(times('5'))
  await says(dev, /times@1 changed: loaded anew in \d+ ms/)
  await until('the edit is served', async () => {
    const several = await Promise.all(Array.from({ length: 8 }, () => answer(dev)))
    return several.every((one) => one === 15) || String(several)
  })

  edit(times('missing'))
  edit('[{"inputs": {"n": [1]}}]', 'golden.json')
  await says(dev, /times@1 changed, what served before goes on: .*missing is not defined, at .*workflow\.ts:7:\d+/)
  edit(times('('))
  await says(dev, /times@1 changed, what served before goes on: [^]*workflow\.ts:8:/)
  expect(await answer(dev)).toBe(15)

  edit(times('7'))
  await until('the last edit is served', () => Promise.resolve(answers.has(21) || String([...answers])))
  busy.yes = false
  await load
  expect(failures).toEqual([])
  expect([...answers].sort((a, b) => a - b)).toEqual([6, 15, 21])
}, 120_000)

test('what a workflow imports beside itself is part of it; what fails under load is told with its place', async () => {
  mkdirSync(join(repository, 'shared'))
  const shared = (factor: number) =>
    writeFileSync(join(repository, 'shared/factor.ts'), `export const factor = ${factor}`)
  shared(2)
  edit(`import { factor } from '../../../shared/factor'\n${times('factor')}`)
  const dev = await serveDev({ MILLRACE_TRANSPORT: 'node' })
  expect(await answer(dev)).toBe(6)
  shared(5)
  await says(dev, /times@1 changed: loaded anew/)
  expect(await answer(dev)).toBe(15)
  // One that loads and fails: the log says what and where.
  edit(times('(inputs as never as number[][])[5]![0]!'))
  await until('requests fail', async () => {
    const is = await answer(dev).catch((error: ScoreError) => error.code)
    return is === 'INTERNAL' || String(is)
  })
  await says(dev, /^times@1 failed in postprocess: Cannot read properties of undefined .*, at .*workflow\.ts:7:\d+$/)
}, 60_000)
