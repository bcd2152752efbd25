import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { placeholder, writeGraph, type GraphNode } from '../../../test/contract/support/tfjs-files'
import { tfjs } from './tfjs'

const folder = mkdtempSync(join(tmpdir(), 'millrace-tfjs-model-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('a graph without a signature that two rows of zeros do not suit is taken by what one row gave', async () => {
  // `y` has the shape [1, 2] whatever came in: with two rows there are values left over.
  const nodes: GraphNode[] = [
    placeholder('x', 'DT_FLOAT', [-1, 2]),
    { name: 'negative', op: 'Neg', input: ['x'], attr: { T: { type: 'DT_FLOAT' } } },
    { name: 'y', op: 'Reshape', input: ['negative', 'shape'], attr: { T: { type: 'DT_FLOAT' } } },
  ]
  const path = writeGraph(folder, nodes, [{ name: 'shape', shape: [2], data: Int32Array.of(1, 2) }])
  const engine = await tfjs.create({ threads: 1, device: 'cpu' })
  const model = await engine.load({ format: 'tfjs', path })
  expect(model.outputs).toEqual([{ name: 'y', dtype: 'f32', shape: [null, 2] }])
  const { y } = await model.run({ x: { dtype: 'f32', shape: [1, 2], data: Float32Array.of(3, -4) } })
  expect([...(y!.data as Float32Array)]).toEqual([-3, 4])
  model.dispose()
  engine.dispose()
})
