import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Decider, type ScoreRequest } from '@millrace/client'
import { repositoryFolder } from '@millrace/demo'
import type { RulesFile } from '@millrace/rules'
import { serve, stopServed, type Served } from '../support/served'

/* Requests that ask for a version or a cell, in every form that a request has. */

const folder = mkdtempSync(join(tmpdir(), 'override-'))
let served: Served

const cells = [
  { name: 'old', weight: 1 },
  { name: 'new', weight: 1, workflow: 'delay@2' },
] as const
const rules: RulesFile = {
  objectives: { delay: { default: 'delay@1' } },
  experiments: [{ id: 'network', objectives: ['delay'], percent: 0.0001, cells: [...cells] }],
  overrides: [
    {
      id: 'testers',
      objectives: ['delay'],
      when: { tenant: 'quality' },
      workflows: ['delay@2', 'delay@3'],
      experiments: ['network'],
    },
  ],
}

beforeAll(async () => {
  for (const version of ['1', '2'])
    cpSync(join(repositoryFolder, 'workflows', 'flight-delay', version), join(folder, 'workflows', 'delay', version), {
      recursive: true,
    })
  mkdirSync(join(folder, 'workflows', 'delay', '3'))
  writeFileSync(join(folder, 'workflows', 'delay', '3', 'model.onnx'), 'no model')
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules))
  served = await serve({}, folder)
})
afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true })
})

type Override = NonNullable<ScoreRequest['override']>

const column = (value: number) => ({ dtype: 'f32', values: Float32Array.of(value), shape: [1] }) as const
const inputs = { hour: column(1), distance: column(100) }
const asking = (override: Override, tenant = 'quality'): ScoreRequest & { subject: string } => ({
  objective: 'delay',
  subject: 'account-1',
  context: { tenant },
  override,
  inputs,
})

const given: [string, Override, { version: number; cell: string | null }][] = [
  ['a version', { workflow: 'delay', version: 2 }, { version: 2, cell: null }],
  ['a cell', { cell: 'new' }, { version: 2, cell: 'new' }],
  ['a cell of an experiment', { cell: 'old', experiment: 'network' }, { version: 1, cell: 'old' }],
]

test.each(given)(
  '%s is had in binary, in JSON, by a client that decides, and in a dry run',
  async (_, override, route) => {
    const expected = { workflow: 'delay', rule: 'testers', rulesVersion: 1, ...route }
    for (const transport of ['http', 'websocket'] as const) {
      const client = served.client({ transport })
      expect((await client.score(asking(override))).route).toEqual(expected)
      expect(await client.resolve(asking(override))).toMatchObject(expected)
    }
    const { body } = await served.json({ ...asking(override), inputs: { hour: [1], distance: [100] } })
    expect(body).toMatchObject({ code: 'OK', rule: 'testers', ...route })
    const decider = await Decider.open({ url: `http://127.0.0.1:${served.server.port}` })
    expect(decider.decide(asking(override))).toMatchObject(expected)
    await decider.close()
  },
)

const refused: [string, Override, string, string, string][] = [
  ['who may not', { cell: 'new' }, 'shop', 'PERMISSION_DENIED', 'it does not hold: tenant is quality'],
  [
    'what is not allowed',
    { workflow: 'delay', version: 1 },
    'quality',
    'PERMISSION_DENIED',
    'override: delay@1 is not allowed: rule testers: it allows delay@2, delay@3, cells of network',
  ],
]

test.each(refused)('%s is refused everywhere with the same words', async (_, override, tenant, code, message) => {
  const refusal = { name: 'ScoreError', code, message: expect.stringContaining(message) as string }
  for (const transport of ['http', 'websocket'] as const)
    await expect(served.client({ transport }).score(asking(override, tenant))).rejects.toMatchObject(refusal)
  const json = { ...asking(override, tenant), inputs: { hour: [1], distance: [100] } }
  const { name: _name, ...twin } = refusal
  expect((await served.json(json)).body).toMatchObject(twin)
  expect((await served.json({ ...json, inputs: {} })).body).toMatchObject(twin)
  const decider = await Decider.open({ url: `http://127.0.0.1:${served.server.port}` })
  expect(() => decider.decide(asking(override, tenant))).toThrow(message)
  await decider.close()
  const explained = await served.admin('POST', '/v1/explain', JSON.stringify({ ...json, inputs: undefined }))
  expect(JSON.parse(explained.body.toString('utf8'))).toMatchObject({ decision: null, refusal: twin })
})

test('a version that is not there, or not ready, is told apart', async () => {
  const client = served.client()
  await expect(client.score(asking({ workflow: 'delay', version: 9 }))).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
    message: expect.stringMatching(/delay@9 is not allowed.*; this server has no such version/) as string,
  })
  await expect(client.score(asking({ workflow: 'delay', version: 3 }))).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('delay@3 is not ready') as string,
    route: { rule: 'testers', version: 3 },
  })
  // Nobody else is kept waiting for it.
  expect((await served.admin('GET', '/v2/health/ready')).status).toBe(200)
})

test('an override that names neither a version nor a cell is INVALID_ARGUMENT', async () => {
  const { status, body } = await served.json({ objective: 'delay', override: { workflow: 'delay' } })
  expect([status, body]).toMatchObject([
    400,
    { message: expect.stringMatching(/^override: names a workflow and/) as string },
  ])
  await expect(served.client().score(asking({ workflow: 'delay', version: 0 }))).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
})
