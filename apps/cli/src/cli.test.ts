import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { ShadowReport } from '@millrace/server'
import { allowed, cgroups, cpuFiles, machine } from '../../../test/support/machine'

const bin = join(__dirname, '../bin/millrace.js')
const fixtures = join(__dirname, '../../../test/fixtures/repository')
const demo = join(__dirname, '../../demo/repository')
const plainEnv = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_')))

function run(args: readonly string[], options: { env?: Record<string, string>; input?: string } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    encoding: 'utf8',
    env: { ...plainEnv, ...options.env },
    input: options.input,
  })
  return { status, stdout, stderr }
}

describe('usage', () => {
  it.each([
    [['--help']],
    [['serve', '--help']],
    [['score', '--help']],
    [['check', '--help']],
    [['config', '--help']],
    [['shadow', 'report', '--help']],
  ])('%j helps and is good', (args) => {
    const { status, stdout } = run(args)
    expect(status).toBe(0)
    expect(stdout).toContain('Usage: millrace')
  })

  it.each([
    [['frob'], "unknown command 'frob'"],
    [['score'], "missing required argument 'file'"],
    [['check', '--frob'], "unknown option '--frob'"],
    [['shadow', 'report', '--url', 'frob'], '--url frob: must be like http://127.0.0.1:8081'],
    [['score', 'no-such-file.json'], 'there is no file no-such-file.json'],
    [['score', '-', '--url', 'frob'], '--url frob: must be like http://127.0.0.1:8080'],
    [['explain'], '--objective'],
    [['bench', 'frob'], "there is no suite 'frob'; there are stage, "],
    [['bench', 'road', '--rounds', 'frob'], '--rounds frob: must be a number above 0'],
    [['check', '--engine', 'tfj'], '--engine tfj: there is no such engine; engines are onnxruntime, '],
  ])('%j is wrong usage', (args, message) => {
    const { status, stderr, stdout } = run(args)
    expect(status).toBe(2)
    expect(stderr).toContain(message)
    expect(stdout).toBe('')
  })

  it('has a version', () => {
    expect(run(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it('does not serve nothing', () => {
    const env = { MILLRACE_PORT: '0', MILLRACE_ADMIN_PORT: '0', MILLRACE_ARENA_BYTES: '32MiB' }
    const { status, stderr, stdout } = run(['serve', '-r', '/nowhere'], { env })
    expect(status).toBe(1)
    expect(stderr).toContain('there is nothing to serve: /nowhere/workflows is no folder')
    expect(stdout).toBe('')
  })

  it('has no colour in a pipe', () => {
    expect(run(['check', demo]).stdout).not.toContain('\u001b[')
  })
})

describe('config', () => {
  it('shows values and where they came from', () => {
    const env = { MILLRACE_PORT: '9999', MILLRACE_ARENA_BYTES: '32MiB' }
    const rows = JSON.parse(run(['config', '--json'], { env }).stdout) as {
      name: string
      value: string
      source: string
    }[]
    expect(rows.find(({ name }) => name === 'MILLRACE_PORT')).toMatchObject({ value: '9999', source: 'environment' })
    expect(rows.find(({ name }) => name === 'MILLRACE_HOST')).toMatchObject({ value: '127.0.0.1', source: 'default' })
    expect(run(['config'], { env }).stdout).toMatch(/MILLRACE_PORT +9999 +environment/)
  })

  it('names the nearest valid variable', () => {
    const { status, stderr } = run(['config'], { env: { MILLRACE_PROT: '1' } })
    expect(status).toBe(2)
    expect(stderr).toContain('MILLRACE_PROT: there is no such variable; the nearest is MILLRACE_PORT')
  })
})

describe('pools', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-pools-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const server = machine(folder, { ...cpuFiles(2, 4, 2), ...allowed('0-15') })
  const container = machine(folder, {
    ...cpuFiles(1, 64, 1),
    ...allowed('0-63'),
    ...cgroups('/', { 'cpu.max': '200000 100000' }),
  })

  it('draws who sits where', () => {
    const { status, stdout } = run(['pools', '--root', server], {
      env: { MILLRACE_LANES: 'auto', MILLRACE_PINNING: 'cpu' },
    })
    expect(status).toBe(0)
    expect(stdout).toContain('allowed  CPUs 0-15: 8 cores, 2 NUMA nodes, 2 sockets')
    expect(stdout).toContain(
      [
        'node 0   0 F0   1 c0   2 F1   3 c1',
        '         8 c0   9 c0   10 c1  11 c1',
        'node 1   4 F2   5 c2   6 F3   7 c3',
        '         12 c2  13 c2  14 c3  15 c3',
      ].join('\n'),
    )
    expect(stdout).toMatch(/^2 +1 +4-5,12-13 +4 +cpu: 5 13 12$/m)
    expect(stdout).toContain('4 front threads and 12 engine threads for 16 CPUs')
  })

  it('obeys the quota of a container, and says everything as JSON', () => {
    const { machine, seating, lanes, warnings } = JSON.parse(run(['pools', '--root', container, '--json']).stdout) as {
      machine: { quota: number; cpus: unknown[] }
      lanes: number
      seating: { pinning: string; threads: number[] }
      warnings: string[]
    }
    expect([machine.quota, machine.cpus.length, lanes]).toEqual([2, 64, 1])
    expect([seating.pinning, seating.threads, warnings]).toEqual(['off', [1], []])
  })

  it('refuses what contradicts itself, and warns of what is meant', () => {
    const env = { MILLRACE_POOL_CPU_THREADS: '40' }
    const refused = run(['pools', '--root', server], { env })
    expect([refused.status, refused.stdout]).toEqual([2, ''])
    expect(refused.stderr).toContain(
      '40 threads need 40 CPUs; CPUs 0-15 are 16: set fewer, or MILLRACE_OVERSUBSCRIBE=yes',
    )
    const meant = run(['pools', '--root', server], {
      env: { ...env, MILLRACE_OVERSUBSCRIBE: 'yes', TF_NUM_INTEROP_THREADS: '2' },
    })
    expect(meant.stdout).toMatch(/warning MILLRACE_POOL_CPU_THREADS: 40 threads need 40 CPUs; .*take turns/)
    expect(meant.stdout).toContain('warning TF_NUM_INTEROP_THREADS=2 is kept')
  })

  it('says that no server is there', () => {
    const { status, stderr } = run(['pools', '--live'], { env: { MILLRACE_ADMIN_PORT: '1' } })
    expect(status).toBe(1)
    expect(stderr).toContain('is the server running? (MILLRACE_ADMIN_HOST, MILLRACE_ADMIN_PORT)')
  })
})

describe('check', () => {
  const copy = mkdtempSync(join(tmpdir(), 'millrace-check-'))
  afterAll(() => rmSync(copy, { recursive: true }))

  it('finds the demo good, signatures and golden requests and all', () => {
    const { status, stdout } = run(['check', demo])
    expect(stdout).toContain('ready  title-ranking@1')
    expect(stdout).toContain('golden requests passed')
    expect(stdout).toContain('title: string')
    expect(stdout).not.toContain('note')
    expect(stdout).toContain('is good')
    expect(status).toBe(0)
  })

  it('runs golden requests on the one engine that is asked for, and leaves what is not for it', () => {
    const { status, stdout } = run(['check', demo, '--engine', 'tfjs', '--json'])
    const { versions, engines, notes } = JSON.parse(stdout) as {
      versions: { name: string }[]
      engines: { name: string; engine: string; state: string; golden: unknown; difference: unknown }[]
      notes: string[]
    }
    expect(versions.map(({ name }) => name)).toEqual(['sentence-embedding', 'title-ranking'])
    expect(engines).toEqual([
      expect.objectContaining({ name: 'sentence-embedding', engine: 'tfjs', golden: { passed: 3, failed: 0 } }),
      expect.objectContaining({ name: 'title-ranking', engine: 'tfjs', golden: { passed: 4, failed: 0 } }),
    ])
    expect(notes).toContain('flight-delay@1: not run, its models are not for tfjs')
    expect(status).toBe(0)
  })

  it('says what is wrong and where', () => {
    cpSync(fixtures, copy, { recursive: true })
    writeFileSync(join(copy, 'workflows/echo/1/golden.json'), '[{"inputs": {"id": 1}, "code": "OK"}]')
    writeFileSync(join(copy, 'workflows/slow/1/workflow.ts'), 'export default 7')
    const rules = {
      objectives: { echo: { default: 'echo@9' } },
      experiments: [{ id: 'none', objectives: ['ecko'], cells: [{ name: 'one', weight: 0, workflow: 'mlp@1' }] }],
    }
    writeFileSync(join(copy, 'rules.json'), JSON.stringify(rules))
    const { status, stdout } = run(['check', copy, '--json'])
    const { problems, versions } = JSON.parse(stdout) as {
      problems: string[]
      versions: { name: string; state: string }[]
    }
    expect(status).toBe(1)
    expect(versions.find(({ name }) => name === 'mlp')?.state).toBe('ready')
    expect(problems).toEqual([
      expect.stringMatching(/^echo@1: 1 of 1 golden requests failed: golden\.json\[0\]: code is INVALID_ARGUMENT/),
      expect.stringMatching(/^slow@1: .*workflow\.ts: its default export is not made by defineWorkflow/),
      expect.stringMatching(/rules\.json: .*there is no objective ecko$/),
      expect.stringMatching(/rules\.json: .*the weights add up to 0$/),
      expect.stringMatching(/rules\.json: \$\.objectives\.echo\.default: echo@9 is not loaded$/),
    ])
  })
})

describe('explain', () => {
  it('says which rule decides, and why the others do not', () => {
    const { status, stdout } = run(['explain', '-o', 'flight-delay', '-s', 'account-42', '--json', '-r', demo])
    expect(status).toBe(0)
    const { decision, rules } = JSON.parse(stdout) as {
      decision: { rule: string; cell: string }
      rules: { rule: string; matched: boolean }[]
    }
    expect(decision.rule).toBe('flight-delay-network')
    expect(rules.map(({ rule, matched }) => [rule, matched])).toEqual([
      ['flight-delay-network', true],
      ['flight-delay-wider', false],
      ['default', false],
      ['flight-delay-wider-beside', true],
    ])
  })

  it('takes a request from stdin, and says no for an objective that is not there', () => {
    const { status, stdout } = run(['explain', '-', '-r', demo], { input: '{"objective": "frob"}' })
    expect(status).toBe(1)
    expect(stdout).toContain("there is no objective 'frob'; there are")
  })
})

describe('serve, score and rules', () => {
  const state = mkdtempSync(join(tmpdir(), 'state-'))
  const serveEnv = {
    MILLRACE_PORT: '0',
    MILLRACE_ADMIN_PORT: '0',
    MILLRACE_LOG_LEVEL: 'warn',
    MILLRACE_ARENA_BYTES: '64MiB',
    MILLRACE_PINNING: 'cpu',
    MILLRACE_STATE_FOLDER: state,
  }
  let server: ChildProcess
  let out = ''
  let url = ''

  beforeAll(async () => {
    server = spawn(process.execPath, [bin, 'serve', '-r', demo], {
      env: {
        ...plainEnv,
        ...serveEnv,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await new Promise<void>((resolve, reject) => {
      server.once('exit', (code) => reject(new Error(`serve ended with ${code}: ${out}`)))
      server.stdout!.on('data', (piece: Buffer) => {
        out += piece.toString()
        if (out.includes('curl')) resolve()
      })
    })
    url = /serves at (http:\S+)/.exec(out)![1]!
  })

  afterAll(async () => {
    if (server.exitCode !== null) return
    const gone = new Promise((resolve) => server.once('exit', resolve))
    server.kill('SIGTERM')
    await gone
    rmSync(state, { recursive: true })
  })

  it('prints the objectives and a line that works when it is pasted', async () => {
    expect(out).toMatch(/title-ranking +title-ranking@1/)
    expect(out).toMatch(/flight-delay +flight-delay@1, flight-delay@2/)
    const line = /^ {2}(curl .*)$/m.exec(out)![1]!
    expect(JSON.parse(await paste(line))).toMatchObject({ code: 'OK', workflow: 'flight-delay' })
  })

  it('shows an answer as a table, or as JSON', () => {
    const file = join(demo, 'requests/title-ranking.json')
    const { status, stdout } = run(['score', file, '-u', url])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^OK {2}title-ranking@1, rule default\nrow +score +rank\n0 +\d/)
    const json = JSON.parse(run(['score', file, '-u', url, '--json']).stdout) as { outputs: { rank: number[] } }
    expect([...json.outputs.rank].sort()).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('publishes rules, says what changed, goes back', () => {
    const admin = /admin (http:\/\/[^/]+)/.exec(out)![1]!
    const rules = (...args: string[]): ReturnType<typeof run> => run(['rules', ...args, '-u', admin])
    const file = join(state, 'rules.json')
    const own = JSON.parse(readFileSync(join(demo, 'rules.json'), 'utf8')) as { objectives: object }
    writeFileSync(
      file,
      JSON.stringify({ ...own, objectives: { ...own.objectives, delay: { default: 'flight-delay@2' } } }),
    )
    expect(rules('publish', file, '--check')).toMatchObject({
      status: 0,
      stdout: `${file} is good; nothing was changed\n`,
    })
    const typed = join(state, 'rules.ts')
    writeFileSync(typed, `export default ${readFileSync(file, 'utf8')}`)
    expect(rules('publish', relative(process.cwd(), typed), '--check')).toMatchObject({ status: 0, stderr: '' })
    expect(rules('publish', file, '--author', 'ada', '--note', 'another name')).toMatchObject({
      status: 0,
      stdout: 'rules version 2 is in force\n',
    })
    const list = rules('list')
    expect(list.status).toBe(0)
    expect(list.stdout).toMatch(/^2 \* .* ada +publish +another name\n1 .* repository/m)
    const diff = rules('diff', '1')
    expect(diff.status).toBe(1)
    expect(diff.stdout).toMatch(/^\+ +"delay": \{/m)
    expect(rules('diff', '2', '2')).toMatchObject({ status: 0, stdout: '' })
    expect(JSON.parse(rules('show').stdout)).toMatchObject({ objectives: { delay: { default: 'flight-delay@2' } } })
    expect(rules('rollback', '--json')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('"version": 3') as string,
    })
    expect(JSON.parse(rules('show').stdout)).toEqual(JSON.parse(rules('show', '1').stdout))
    writeFileSync(file, '{"objectives": {"delay": {"default": "flight-delay@7"}}}')
    const refused = rules('publish', file)
    expect(refused.status).toBe(1)
    expect(refused.stderr).toContain('$.objectives.delay.default: flight-delay@7 is not loaded')
    expect(rules('rollback', 'two')).toMatchObject({ status: 2 })
  })

  it('explains by the rules of the server: a request that may come, and those that came', () => {
    const admin = /admin (http:\/\/[^/]+)/.exec(out)![1]!
    const explain = (...args: string[]): ReturnType<typeof run> => run(['explain', ...args, '-u', admin])
    const live = explain('-o', 'flight-delay', '-s', 'account-42', '--live')
    expect(live.status).toBe(0)
    expect(live.stdout).toMatch(/^flight-delay@\d by rule flight-delay-network, cell \w+\n/)
    expect(live.stdout).toMatch(/^flight-delay@\d +lane 0 +ready +\d{4}-/m)
    const request = { id: 77, objective: 'flight-delay', subject: 'ada', inputs: { hour: [9], distance: [400] } }
    expect(run(['score', '-', '-u', url], { input: JSON.stringify(request) }).status).toBe(0)
    const came = explain('--id', '77')
    expect(came.status).toBe(0)
    expect(came.stdout).toMatch(
      /, rules version \d+: request 77, lane 0, flight-delay, subject ada\nflight-delay@\d by rule/,
    )
    expect(JSON.parse(explain('--recent', '-s', 'ada', '--json').stdout)).toMatchObject([{ id: '77', subject: 'ada' }])
    const none = explain('--id', '78')
    expect(none.status).toBe(1)
    expect(none.stderr).toContain('MILLRACE_EXPLAIN_REQUESTS')
    expect(explain('--id', '77', '-c', 'a=b').status).toBe(2)
    expect(run(['rules', 'explain', '-o', 'flight-delay', '-s', 'ada', '-r', demo]).status).toBe(0)
  })

  it('reports what shadows differ by', async () => {
    const admin = /admin (http:\/\/[^/]+)/.exec(out)![1]!
    const report = (...args: string[]): ReturnType<typeof run> => run(['shadow', 'report', '-u', admin, ...args])
    const file = join(state, 'shadowed.json')
    const shadow = { id: 'beside', objectives: ['delay'], workflow: 'flight-delay@2', percent: 100 }
    writeFileSync(file, JSON.stringify({ objectives: { delay: { default: 'flight-delay@1' } }, shadows: [shadow] }))
    expect(run(['rules', 'publish', file, '-u', admin]).status).toBe(0)
    const request = { objective: 'delay', subject: 'ada', inputs: { hour: [9, 10], distance: [400, 500] } }
    expect(run(['score', '-', '-u', url], { input: JSON.stringify(request) }).status).toBe(0)
    const reported = (): ShadowReport => {
      const { shadows } = JSON.parse(report('--json').stdout) as { shadows: ShadowReport[] }
      return shadows.find(({ shadow }) => shadow === 'beside')!
    }
    const end = Date.now() + 20_000
    while (reported().copies.compared === 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50))
    expect(reported()).toMatchObject({ copies: { compared: 1 }, primary: 'flight-delay@1', copy: 'flight-delay@2' })
    const { status, stdout } = report()
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^beside of delay: flight-delay@2 beside flight-delay@1 \(rule default\), 100 % of its requests$/m,
    )
    expect(stdout).toMatch(/^copies +1 compared, 0 failed, 0 dropped$/m)
    expect(stdout).toMatch(/^codes +the same$/m)
    expect(stdout).toMatch(/^output +values +mean difference +max +beyond tolerance +Kendall tau +top overlap$/m)
    expect(stdout).toMatch(/^request \d+ at 20\S+, 2 rows: differs by \d/m)
    expect(stdout).toMatch(/^inputs .*"distance":\[\[400\],\[500\]\]/m)
    expect(run(['shadow', 'report', '-u', 'http://127.0.0.1:1'])).toMatchObject({ status: 1, stdout: '' })
    expect(run(['rules', 'rollback', '-u', admin]).status).toBe(0)
  })

  it('says no when a request is refused', () => {
    const { status, stdout } = run(['score', '-', '-u', url], {
      input: '[{"objective": "title-ranking"}, {"objective": "frob"}]',
    })
    expect(status).toBe(1)
    expect(stdout).toContain('INVALID_ARGUMENT')
    expect(stdout).toContain('NOT_FOUND')
  })

  it('says that no server is there', () => {
    const { status, stderr } = run(['score', '-', '-u', 'http://127.0.0.1:1'], { input: '{}' })
    expect(status).toBe(1)
    expect(stderr).toContain('is the server running?')
  })

  it('has its threads where the plan says, and says where they are not', () => {
    const admin = /admin http:\S+:(\d+)\/metrics/.exec(out)![1]!
    const env = { ...serveEnv, MILLRACE_ADMIN_PORT: admin }
    const good = run(['pools', '--live'], { env })
    expect(good.stdout).toMatch(/server: 1 lane, \d+ threads, as the kernel tells\ngood {2}everybody sits where/)
    expect(good.status).toBe(0)
    const other = run(['pools', '--live', '--json'], { env: { ...env, MILLRACE_POOL_CPU_CPUS: '0' } })
    expect((JSON.parse(other.stdout) as { misplaced: string[] }).misplaced).toEqual([
      'the server was started with other variables or on another machine: its plan is not this one',
    ])
    expect(other.status).toBe(1)
  })

  it('ends with 0 after SIGTERM', async () => {
    const ended = new Promise((resolve) => server.once('exit', resolve))
    server.kill('SIGTERM')
    expect(await ended).toBe(0)
  })
})

/** Runs a printed curl line in a shell; where there is no curl, sends what it would send. */
async function paste(line: string): Promise<string> {
  if (spawnSync('curl', ['--version']).status === 0) return execFileSync('/bin/sh', ['-c', line], { encoding: 'utf8' })
  const [, target, header, body] = /^curl -s (\S+) -H '([^']*)' -d '(.*)'$/.exec(line)!
  const [name, value] = header!.split(': ')
  const response = await fetch(target!, { method: 'POST', headers: { [name!]: value! }, body: body! })
  return response.text()
}

describe('tenants', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenants-'))
  const file = join(folder, 'tenants.json')
  afterAll(() => rmSync(folder, { recursive: true }))

  it('makes keys, keeps their hashes alone, and shows who is there', () => {
    const keys = ['shop', 'shop', 'quality'].map((tenant) => {
      const { status, stdout, stderr } = run(['tenants', 'new', tenant, '--file', file])
      expect([status, stderr]).toEqual([0, expect.stringContaining(`${tenant} has `)])
      expect(stdout).toMatch(/^mlr_[\w-]{43}\n$/)
      return stdout.trim()
    })
    expect(new Set(keys).size).toBe(3)
    const text = readFileSync(file, 'utf8')
    for (const key of keys) {
      expect(text).not.toContain(key)
      const { stdout } = run(['tenants', 'hash'], { input: `${key}\n` })
      expect(text).toContain(stdout.trim())
    }
    const { status, stdout } = run(['tenants', 'list'], { env: { MILLRACE_TENANTS: file } })
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^shop +2 /m)])
  })

  it.each([
    [['tenants', 'list'], '', 2, 'which file?'],
    [['tenants', 'hash'], 'secret', 2, 'a key is 32 to 512 characters without spaces, and random'],
    [['tenants', 'list', '--file', '/nowhere'], '', 1, 'MILLRACE_TENANTS=/nowhere: cannot be read: ENOENT'],
    [['tenants', 'new', '', '--file', file], '', 1, 'tenants.'],
  ])('%j does not', (args, input, code, message) => {
    const { status, stderr, stdout } = run(args, { input })
    expect([status, stdout, stderr]).toEqual([code, '', expect.stringContaining(message)])
  })
})
