import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Engines, loadVersion, readRepository, runOffline, type LoadedVersion } from './index'
import { hungryModel } from '../../../test/support/hungry-model'

/*
 * A model that asks for more memory than there is: for every batch of more than four rows, and for a row below zero.
 */

let folder: string
let engines: Engines
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-parts-'))
  engines = new Engines({ threads: 1, device: 'cpu' })
})
afterEach(async () => {
  await engines.dispose()
  rmSync(folder, { recursive: true })
})

async function load(files: Readonly<Record<string, string | Uint8Array>>): Promise<LoadedVersion> {
  for (const [path, content] of Object.entries(files)) {
    const at = join(folder, 'workflows/hungry/1', path)
    mkdirSync(dirname(at), { recursive: true })
    writeFileSync(at, content)
  }
  const { version, description } = await loadVersion(readRepository(folder).versions[0]!, { engines, store: null })
  if (version === null) throw new Error(description.reason!)
  return version
}

const workflow = `
import { column, defineWorkflow, onnx } from '@millrace/workflow'

export default defineWorkflow({
  inputs: { owner: column('string', { per: 'request' }), x: column('f32'), tag: column('string') },
  outputs: { owner: column('string', { per: 'request' }), y: column('f32'), text: column('string') },
  model: onnx('model.onnx', { inputs: { x: 'f32' }, outputs: { y: 'f32' } }),
  preprocess({ rows, inputs }, into) {
    into.x([rows, 1], inputs.x)
  },
  postprocess({ rows, requests, requestOf, inputs, outputs }, from) {
    for (let request = 0; request < requests; request++) outputs.owner.set(request, inputs.owner.at(request))
    outputs.y.set(from.y.data)
    for (let row = 0; row < rows; row++)
      outputs.text.set(row, inputs.owner.at(requestOf[row]) + '/' + inputs.tag.at(row))
  },
})
`

const request = (owner: string, x: readonly number[]) => ({ owner, x, tag: x.map(String) })
const answer = (owner: string, x: readonly number[]) => ({
  code: 'OK',
  outputs: { owner, y: x.map((one) => one + 1), text: x.map((one) => `${owner}/${one}`) },
})

test('a model alone is warmed as far as it fits', async () => {
  const version = await load({ 'model.onnx': hungryModel(4) })
  expect(version.fitting).toMatchObject({ limit: 4, failures: 1 })
  const answers = await runOffline(version, [{ x: Array.from({ length: 50 }, (_, i) => i) }])
  expect(answers).toEqual([{ code: 'OK', outputs: { y: Array.from({ length: 50 }, (_, i) => [i + 1]) } }])
  expect(version.fitting.failures).toBe(1)
})

test('rows of many requests, split where they may be, come back where they belong', async () => {
  const version = await load({ 'workflow.ts': workflow, 'model.onnx': hungryModel(4) })
  const requests = [[1], [2, 3, 4], [5, 6, 7, 8, 9, 10, 11, 12, 13], [14], [15, 16]]
  const named = requests.map((x, i) => [`owner ${i}`, x] as const)
  const answers = await runOffline(
    version,
    named.map(([owner, x]) => request(owner, x)),
  )
  expect(answers).toEqual(named.map(([owner, x]) => answer(owner, x)))
})

test('each part sees the context of its requests', async () => {
  const reading = workflow
    .replace('import { column', 'import { attribute, column')
    .replace(
      'outputs: {',
      "context: { who: attribute('text'), age: attribute('number', { missing: -1 }) },\n  outputs: {",
    )
    .replace('requestOf, inputs, outputs }', 'requestOf, inputs, context, outputs }')
    .replace("'/' + inputs.tag.at(row)", "'/' + context.who.at(requestOf[row]) + '/' + context.age[requestOf[row]]")
  const version = await load({ 'workflow.ts': reading, 'model.onnx': hungryModel(4) })
  const rows = [1, 3, 9, 1, 2]
  const answers = await runOffline(
    version,
    rows.map((n, i) => request(`${i}`, new Array<number>(n).fill(i))),
    { contexts: rows.map((_, i) => ({ who: `person ${i}`, ...(i % 2 === 0 && { age: i }) })) },
  )
  expect(answers.map(({ outputs }) => outputs?.['text'])).toEqual(
    rows.map((n, i) => new Array(n).fill(`${i}/person ${i}/${i % 2 === 0 ? i : -1}`)),
  )
})

test('a row that is too large refuses its request, whichever part it is in, and no other', async () => {
  const version = await load({ 'workflow.ts': workflow, 'model.onnx': hungryModel(4) })
  const requests = [[1], [2, 3], [4, 5, -6, 7, 8, 9], [10, 11], [-12], [13, 14, 15, 16, 17]]
  const answers = await runOffline(
    version,
    requests.map((x, i) => request(`${i}`, x)),
  )
  answers.forEach((one, i) => {
    if (i !== 2 && i !== 4) expect(one).toEqual(answer(`${i}`, requests[i]!))
    else {
      expect(one.code).toBe('RESOURCE_EXHAUSTED')
      expect(one.message).toMatch(/^one row of hungry@1 does not fit the memory of cpu: .*Failed to allocate memory/)
    }
  })
})

test('a version of which no row fits fails, and says why', async () => {
  await expect(load({ 'model.onnx': hungryModel(0) })).rejects.toThrow('Failed to allocate memory')
})
