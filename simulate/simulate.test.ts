import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** As many as a second or two take; `npm run simulate` goes on without end. */
const seeds = process.env['SIMULATE_SEEDS'] ?? '200'

/** What the command says; rejects with it where a seed fails. In a process of its own: in Jest's realm it takes five times as long. */
async function simulate(...args: string[]): Promise<string> {
  const command = [join(__dirname, 'dist/index.js'), ...args]
  const { stdout } = await run(process.execPath, command, { maxBuffer: 2 ** 26 })
  return stdout
}

/** What happened in the seeds, by what the command's table says. */
function happened(said: string): string[] {
  return [...said.matchAll(/^ *\d+ {2}(.*)$/gm)].map(([, what]) => what!)
}

test('road: whatever happens, each request is answered once, rightly and in time, and everything is given back', async () => {
  const said = await simulate('road', '--from', '1', '--seeds', seeds)
  // It comes by all that it is meant to.
  expect(happened(said)).toEqual(
    expect.arrayContaining([
      'OK',
      'DEADLINE_EXCEEDED',
      'DEADLINE_EXCEEDED (MILLRACE_BATCH_TIMEOUT_MS)',
      'DEADLINE_EXCEEDED (predicted)',
      'INTERNAL',
      'INTERNAL (MILLRACE_SLAB_STRING_BYTES)',
      'INVALID_ARGUMENT (MILLRACE_REQUEST_ROWS_MAX)',
      'NOT_FOUND',
      'PERMISSION_DENIED',
      'PERMISSION_DENIED (MILLRACE_TENANTS)',
      'RESOURCE_EXHAUSTED (a part of the arena)',
      "RESOURCE_EXHAUSTED (a tenant's part)",
      'RESOURCE_EXHAUSTED (a limit of the rules)',
      'RESOURCE_EXHAUSTED (MILLRACE_ARENA_BYTES)',
      'RESOURCE_EXHAUSTED (MILLRACE_QUEUE_ROWS_MAX)',
      'RESOURCE_EXHAUSTED (MILLRACE_REQUESTS_IN_FLIGHT_MAX)',
      'RESOURCE_EXHAUSTED (MILLRACE_SOCKET_IN_FLIGHT_MAX)',
      'UNAUTHENTICATED',
      'UNAVAILABLE',
      'batches larger than the memory',
      'batches lost',
      'batches of copies',
      'batches over their time',
      'bulk batches before interactive ones',
      'connections closed while they wait',
      'publishes',
      'values of copies that must not differ',
      'versions gone',
      'versions lost by every pool',
    ]),
  )
})

test('control: versions and rules come and go, no objective goes with them, and all lanes agree in the end', async () => {
  const said = await simulate('control', '--from', '1', '--seeds', String(Math.ceil(Number(seeds) / 8)))
  expect(happened(said)).toEqual(
    expect.arrayContaining([
      'OK',
      'UNAVAILABLE',
      'lanes killed',
      'publish',
      'publish: ABORTED',
      'publish: FAILED_PRECONDITION',
      'publish: INVALID_ARGUMENT',
      'restart',
      'rollback',
    ]),
  )
})

test('control: a version that ends lanes is given up, also where one lane failed it for another reason', async () => {
  expect(await simulate('control', '--seed', '64')).toBe('seed 64 passed\n')
})

test('bugs that are known are found', async () => {
  const said = await simulate('mutants')
  expect(said).not.toContain('NOT FOUND')
  expect(said.match(/^ +seed \d+: /gm)?.length).toBeGreaterThan(50)
}, 300_000)

test('the same seeds are the same lanes, requests and accidents', async () => {
  const twice = await Promise.all([1, 2].map(() => simulate('road', '--from', '7', '--seeds', '5')))
  expect(twice[0]).toBe(twice[1])
  expect(await simulate('road', '--seed', '7')).toBe('seed 7 passed\n')
})

test('a wrong option is told, with exit code 2', async () => {
  await expect(simulate('road', '--seed', 'x')).rejects.toMatchObject({ code: 2 })
  await expect(simulate('moon')).rejects.toMatchObject({ code: 2 })
})

test('shadows leave the 99th percentile of requests within a tenth, at half of what a lane can do', async () => {
  const said = await simulate('shadows')
  const ratios = [...said.matchAll(/: ([\d.]+); ([\d.]+) % copied/g)]
  expect(ratios).toHaveLength(6)
  for (const [, ratio] of ratios) expect(Number(ratio)).toBeLessThanOrEqual(1.1)
  // A device that is never idle has none.
  for (const [, , copied] of ratios.slice(0, 4)) expect(Number(copied)).toBeGreaterThan(1)
})
