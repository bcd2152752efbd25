import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeRecording, decodeRequest, encodeRecording, encodeRequest } from '@millrace/wire'
import { serve, stopServed } from '../support/served'
import { echoCase } from '../support/load-cases'
import { Random } from '../support/random'

/* What a server records of its traffic, and what becomes of it when it is sent again. */

const random = new Random()
const folder = mkdtempSync(join(tmpdir(), 'millrace-recording-'))
const bin = join(__dirname, '../../apps/cli/bin/millrace.js')

afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true, force: true })
})

function replay(...args: string[]) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_')))
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, 'replay', ...args], { encoding: 'utf8', env })
  return { status, stdout, stderr }
}

test('requests are recorded as they came, over both transports and in JSON, and replayed', async () => {
  const file = join(folder, 'all.mrtf')
  const recorded = await serve({
    MILLRACE_RECORD_ONE_IN: '1',
    MILLRACE_RECORD_FILE: file,
    MILLRACE_POOL_CPU_THREADS: '1',
  })
  const cases = Array.from({ length: 5 }, () => echoCase(random, 2))
  for (const [i, { objective, inputs }] of cases.entries()) {
    const client = recorded.client({ transport: i % 2 === 0 ? 'websocket' : 'http' })
    await client.score({ objective, inputs, subject: `account-${i}`, context: { country: 'US' } })
    await client.resolve({ objective })
  }
  await recorded.post('/v1/score', 'no request', 'application/x-flatbuffers')
  await stopServed()
  // Only who runs the server reads what clients sent.
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const { beganMs, requests } = decodeRecording(readFileSync(file))
  expect(Math.abs(Date.now() - beganMs)).toBeLessThan(600_000)
  // What only asks for a decision is not in it, unless it says so itself.
  const scored = requests.map(({ message }) => decodeRequest(message)).filter(({ dryRun }) => dryRun !== true)
  expect(scored.map(({ subject, context }) => ({ subject, context }))).toEqual(
    cases.map((_, i) => ({ subject: `account-${i}`, context: { country: 'US' } })),
  )
  const times = requests.map(({ arrivalUs }) => arrivalUs)
  expect(times).toEqual([...times].sort((a, b) => a - b))

  const again = await serve({ MILLRACE_POOL_CPU_THREADS: '1' })
  const url = `http://127.0.0.1:${again.server.port}`
  // Its lanes are processes of their own: they answer while this one waits.
  const { status, stdout } = replay(file, '--url', url, '--speed', '50', '--json')
  expect(status).toBe(0)
  const result = JSON.parse(stdout) as { codes: object; latency_us: { p50: number; max: number } }
  expect(result.codes).toEqual({ OK: requests.length })
  expect(result.latency_us.max).toBeGreaterThanOrEqual(result.latency_us.p50)
  await again.idle()
  await stopServed()
})

test('a recording is a sample, and is bounded', async () => {
  const file = join(folder, 'sample.mrtf')
  const served = await serve({
    MILLRACE_RECORD_ONE_IN: '4',
    MILLRACE_RECORD_FILE: file,
    MILLRACE_RECORD_BYTES_MAX: '64KiB',
    MILLRACE_POOL_CPU_THREADS: '1',
  })
  const client = served.client({ sockets: 2 })
  const { objective, inputs } = echoCase(random, 1)
  for (let i = 0; i < 4000; i += 100)
    await Promise.all(Array.from({ length: 100 }, () => client.score({ objective, inputs, subject: 'x'.repeat(200) })))
  await stopServed()
  const { requests } = decodeRecording(readFileSync(file))
  expect(requests.length).toBeGreaterThan(20)
  expect(requests.length).toBeLessThan(1500)
  expect(statSync(file).size).toBeLessThanOrEqual(64 * 1024)
  expect(statSync(file).size).toBeGreaterThan(60 * 1024)
  expect(served.logged.join('\n')).not.toContain('cannot be written')
})

test('a recording that cannot be opened stops the start, and none is off', async () => {
  const nowhere = join(folder, 'nowhere/file.mrtf')
  const env = { MILLRACE_RECORD_ONE_IN: '10', MILLRACE_POOL_CPU_THREADS: '1' }
  await expect(serve({ ...env, MILLRACE_RECORD_FILE: nowhere })).rejects.toThrow('MILLRACE_RECORD_FILE: ')
  await expect(serve(env)).rejects.toThrow('MILLRACE_RECORD_FILE: names no file')
  const unused = join(folder, 'unused.mrtf')
  await serve({ MILLRACE_RECORD_FILE: unused, MILLRACE_POOL_CPU_THREADS: '1' })
  await stopServed()
  expect(existsSync(unused)).toBe(false)
})

describe('millrace replay', () => {
  test.each([
    [['/nowhere.mrtf'], '/nowhere.mrtf'],
    [[bin], 'the file is no recording'],
    [['--speed', '0', bin], '--speed 0: must be a number above 0'],
    [['--url', 'frob', bin], '--url frob: must be like'],
  ])('%j is wrong usage', (args, message) => {
    const { status, stderr } = replay(...args)
    expect([status, stderr]).toEqual([2, expect.stringContaining(message)])
  })

  test('says no when requests are refused', () => {
    const file = join(folder, 'refused.mrtf')
    const message = encodeRequest({ objective: 'any' })
    writeFileSync(file, encodeRecording({ beganMs: 0, requests: [{ arrivalUs: 0, message }] }))
    const { status, stdout } = replay(file, '--url', 'http://127.0.0.1:9')
    expect(status).toBe(1)
    expect(stdout).toContain('UNAVAILABLE')
  })
})
