import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { denseColumn, encodeRecording, encodeRequest } from '@millrace/wire'

const bin = join(__dirname, '../../bin/millrace.js')
const examples = join(__dirname, '../../../../libs/plan/examples')
const fixtures = join(__dirname, '../../../../test/fixtures/repository')
const folder = mkdtempSync(join(tmpdir(), 'millrace-plan-'))
afterAll(() => rmSync(folder, { recursive: true }))

function run(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_')))
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, 'plan', ...args], { encoding: 'utf8', env })
  return { status, stdout, stderr }
}
function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

interface Answer {
  readonly requestsPerS: number
  readonly chosen: {
    readonly machine: string
    readonly machines: number
    readonly environment: Record<string, string>
    readonly usual: { readonly p50Ms: number; readonly p99Ms: number; readonly front: number; readonly pool: number }
    readonly pricePerHour: number
    readonly pricePerMillion: number
    readonly saturates: string
  } | null
  readonly fleets: readonly { readonly machine: string; readonly reason: string }[]
  readonly whatIfs: readonly { readonly what: string; readonly fleet: { readonly machines: number } }[]
}

const profile = join(examples, 'profile.json')
const common = ['--profile', profile, '--requests', '50000', '--p99', '20', '--objective', 'flight-delay:1']

describe('millrace plan', () => {
  test('options for the common case', () => {
    const { status, stdout } = run([...common, '--machine', 'c4:4:0.2', '--json'])
    expect(status).toBe(0)
    const { chosen, requestsPerS, whatIfs } = JSON.parse(stdout) as Answer
    expect(requestsPerS).toBe(50_000)
    expect(chosen!.machines).toBeGreaterThanOrEqual(1)
    expect(chosen!.usual.p99Ms).toBeLessThanOrEqual(20)
    expect(chosen!.pricePerHour).toBeCloseTo(chosen!.machines * 0.2, 9)
    expect(Object.keys(chosen!.environment)).toContain('MILLRACE_LANES')
    const traffic = whatIfs.find(({ what }) => what === 'traffic doubles')!
    expect(traffic.fleet.machines).toBeGreaterThanOrEqual(chosen!.machines)
  })

  test('a file, options over it, text for people', () => {
    const path = file(
      'plan.yaml',
      [
        `profile: ${profile}`,
        'requests_per_s: 20000   # at the peak',
        'latency: { p99_ms: 50 }',
        'mix:',
        '  - { objective: flight-delay, share: 9, rows: 1 }',
        '  - { objective: title-ranking, share: 1, rows: 100 }',
        'machines:',
        '  - { name: c2, cores: 2, price_per_hour: 0.1 }',
        '  - { name: c8, cores: 8, price_per_hour: 0.4 }',
        'headroom: { zones: 3, lose_zones: 1 }',
      ].join('\n'),
    )
    const { status, stdout } = run([path, '--requests', '40000', '--growth', '50'])
    expect(status).toBe(0)
    expect(stdout).toContain('60,000 requests/s, growth of 50 % included, within p99 50 ms')
    expect(stdout).toContain('head-room: 1 of 3 zones lost')
    expect(stdout).toMatch(/^c2 +\d+ +1 x 1 /m)
    expect(stdout).toMatch(/saturates first/)
    expect(stdout).toMatch(/MILLRACE_LANES=\d+ MILLRACE_POOL_CPU_THREADS=\d+/)
    expect(stdout).toMatch(/^traffic doubles +\d/m)
    expect(stdout).toMatch(/^one more zone may be lost +\d/m)
  })

  test('no is an answer: exit 1', () => {
    const { status, stdout } = run([...common.slice(0, 4), '--p99', '0.001', ...common.slice(6), '--machine', 'c4:4:1'])
    expect(status).toBe(1)
    expect(stdout).toMatch(/an idle machine answers in .* ms/)
    expect(stdout).toContain('no machine of these can')
  })

  test.each([
    [['--requests', 'many'], '--requests: many is no number'],
    [['--requests', '5', '--p99', '5', '--objective', 'a', '--machine', 'c4:4:1'], '--profile: no profile is named'],
    [[...common, '--machine', 'c4'], '--machine c4: must be like c16:16:0.68'],
    [[...common], 'machines: '],
    [[...common, '--machine', 'c0:0:1'], 'machines[0].cores: '],
    [['--profile', '/nowhere.json', ...common.slice(2), '--machine', 'c4:4:1'], '/nowhere.json is no profile'],
    [['/nowhere.yaml'], '/nowhere.yaml is no plan:\n  cannot be read'],
    [
      [...common, '--objective', 'frob', '--machine', 'c4:4:1'],
      'mix[1].objective: frob was not measured; the profile has',
    ],
  ])('%j is wrong usage', (args, message) => {
    const { status, stderr, stdout } = run(args)
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
  })

  test('a file that is no YAML, and one that is no plan', () => {
    expect(run([file('bad.yaml', 'a: [1')]).stderr).toMatch(/bad.yaml is no plan:\n {2}neither YAML nor JSON: /)
    expect(run([file('list.yaml', '- 1')]).stderr).toContain('list.yaml is no plan')
    const { stderr } = run([file('fields.yaml', 'requests_per_s: -3\nlatency: {}\nfrob: 1')])
    for (const field of ['requests_per_s: ', 'latency: asks nothing; give p50_ms or p99_ms', 'mix: ', 'frob'])
      expect(stderr).toContain(field)
  })
})

describe('millrace plan measure', () => {
  test('measures a repository by its engines and its server, and the plan takes what it wrote', () => {
    const out = join(folder, 'measured.json')
    const measured = run(['measure', '--quick', '-r', fixtures, '--objective', 'mlp:3', '--out', out])
    expect(measured.stderr).not.toContain('Error')
    expect(measured.status).toBe(0)
    const json = JSON.parse(readFileSync(out, 'utf8')) as {
      machine: { cores: number }
      front: { batch_us: number }
      objectives: Record<
        string,
        { rows: number; front: object; engines: Record<string, { service: { rows: number }[] }> }
      >
    }
    expect(json.machine.cores).toBeGreaterThan(0)
    const mlp = json.objectives['mlp']!
    expect(mlp.rows).toBe(3)
    expect(Object.keys(mlp.front)).toEqual(['websocket', 'http'])
    for (const { service } of Object.values(mlp.engines)) {
      expect(service[0]!.rows).toBe(1)
      expect(service.length).toBeGreaterThan(3)
    }
    const planned = run([
      '--profile',
      out,
      '--requests',
      '100',
      '--p99',
      '5000',
      '--objective',
      'mlp',
      '--machine',
      'c2:2:1',
    ])
    expect([planned.status, planned.stderr]).toEqual([0, ''])
    expect(run(['measure', '-r', fixtures, '--objective', 'frob']).stderr).toContain(
      '--objective frob: there is no such objective; there are',
    )
  })

  test('measures with what a server recorded, and says where there is nothing of an objective', () => {
    const traffic = join(folder, 'traffic')
    const message = encodeRequest({
      id: 1n,
      objective: 'mlp',
      inputs: [denseColumn('features', 'f32', new Float32Array(64).fill(0.5))],
    })
    writeFileSync(traffic, encodeRecording({ beganMs: 0, requests: [{ arrivalUs: 0, message }] }))
    const out = join(folder, 'recorded.json')
    const measure = ['measure', '--quick', '-r', fixtures, '--traffic', traffic]
    const measured = run([...measure, '--objective', 'mlp:2', '--out', out])
    expect([measured.status, measured.stderr.includes('Error')]).toEqual([0, false])
    const { objectives } = JSON.parse(readFileSync(out, 'utf8')) as { objectives: Record<string, { rows: number }> }
    expect(objectives['mlp']!.rows).toBe(2)
    const other = run([...measure, '--objective', 'echo'])
    expect(other.status).not.toBe(0)
    expect(other.stderr).toContain(`${traffic} has no requests for echo`)
    const none = run(['measure', '-r', fixtures, '--objective', 'mlp', '--traffic', join(folder, 'nowhere')])
    expect([none.status, none.stderr]).toEqual([2, expect.stringContaining('there is no such file')])
  })
})
