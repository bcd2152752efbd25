import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeOnnx } from '@millrace/engine'
import { Engines, loadVersion, readRepository, runOffline } from './index'

/* What a workflow's mistakes are told as: the phase, the column or tensor, the row, and the line of its file. */

let folder: string
let engines: Engines
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'errors-'))
  engines = new Engines({ threads: 1, device: 'cpu' })
})
afterEach(async () => {
  await engines.dispose()
  rmSync(folder, { recursive: true })
})

async function run(functions: string): Promise<unknown> {
  const version = join(folder, 'workflows/wrong/1')
  mkdirSync(version, { recursive: true })
  writeFileSync(
    join(version, 'model.onnx'),
    writeOnnx({
      inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 2] }],
      outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 2] }],
      weights: {},
      nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'] }],
    }),
  )
  writeFileSync(
    join(version, 'workflow.ts'),
    `import { column, defineWorkflow, onnx } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { title: column('string'), ids: column('i32', { ragged: true }), at: column('f32') },
  outputs: { score: column('f32'), id: column('i64'), label: column('string') },
  model: onnx('model.onnx', { inputs: { x: 'f32' }, outputs: { y: 'f32' } }),
  ${functions}
})`,
  )
  const loaded = await loadVersion(readRepository(folder).versions[0]!, { engines, store: null, warmMsMax: 0 })
  if (loaded.version === null) throw new Error(loaded.description.reason!)
  return runOffline(loaded.version, [{ title: ['a', 'b'], ids: [[1], [2, 3]], at: [0, 1] }])
}

/** The line of the file that `functions` begins in. */
const line = 6

test.each([
  ['batch.inputs.title.at(2)', "column 'title': row 2 of 2"],
  ['batch.inputs.title.bytes(-1)', "column 'title': row -1 of 2"],
  ['batch.inputs.ids.at(7)', "column 'ids': row 7 of 2"],
  ['batch.inputs.ids.size(2)', "column 'ids': row 2 of 2"],
  ["batch.outputs.label.set(2, 'a')", "column 'label': row 2 of 2"],
  ['batch.outputs.label.set(1, 5 as never)', "column 'label': row 1 is set to a number; it takes a string or bytes"],
  ['batch.outputs.score = new Float32Array(2) as never', "Cannot assign to read only property 'score'"],
  ['batch.outputs.id[0] = 1 as never', 'Cannot convert 1 to a BigInt'],
  ['batch.refuse(2, 3, "no")', 'request 2 of 1'],
])('postprocess: %s', async (code, message) => {
  const wrong = run(`preprocess({ rows }, into) { into.x([rows, 2]) }, postprocess(batch) { ${code} }`)
  await expect(wrong).rejects.toThrow(`wrong@1 failed in postprocess: ${message}`)
  await expect(wrong).rejects.toThrow(new RegExp(`, at ${folder}/workflows/wrong/1/workflow\\.ts:${line}:\\d+$`))
})

test.each([
  [
    'into.x([rows, 2], new Float64Array(4) as never)',
    "model input 'x' is f32: it takes a Float32Array, not Float64Array",
  ],
  ['into.x([rows, 2], new Float32Array(3))', "model input 'x' of shape [2,2] takes 4 elements, not 3"],
  ['into.x([rows, 3])', "model input 'x' is f32[*,2]; shape [2,3] does not fit"],
])('preprocess: %s', async (code, message) => {
  const wrong = run(`preprocess({ rows }, into) { ${code} }, postprocess() {}`)
  await expect(wrong).rejects.toThrow(`wrong@1 failed in preprocess: ${message}`)
  await expect(wrong).rejects.toThrow(new RegExp(`, at ${folder}/workflows/wrong/1/workflow\\.ts:${line}:\\d+$`))
})

test('a file that does not load is told with its line', async () => {
  await expect(run('preprocess({ rows }, into) { ( }')).rejects.toThrow(new RegExp(`workflow\\.ts:${line}:`))
  await expect(run('batch: { rowsMax: Number(nothing) }')).rejects.toThrow(
    new RegExp(`^${folder}/workflows/wrong/1/workflow\\.ts:${line}:\\d+: nothing is not defined$`),
  )
  await expect(run('batch: { rowsMax: 0 }')).rejects.toThrow(/workflow\.ts:2:\d+: batch.rowsMax is 0/)
})
