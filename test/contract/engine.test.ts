import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  engines,
  mlpGraph,
  writeOnnx,
  writeSavedModel,
  type ModelFile,
  type Tensor,
  type Tensors,
} from '@millrace/engine'
import { EngineThread, type LoadedModel } from './support/engine-thread'
import { computeMlp, makeMlp, rowsFor, type Mlp } from './support/mlp'
import { distance } from './support/numbers'
import { mlpNodes } from './support/saved-models'
import { writeGraphMlp, writeLayersMlp } from './support/tfjs-files'

/*
 * What every engine promises, whatever is behind it. A new engine joins by a line in `subjects`.
 */

interface Subject {
  readonly engine: string
  readonly kind: string
  write(folder: string, mlp: Mlp): ModelFile
}

const subjects: readonly Subject[] = [
  { engine: 'onnxruntime', kind: 'onnx', write: writeOnnxMlp },
  { engine: 'tfjs', kind: 'graph model', write: (folder, mlp) => tfjsFile(writeGraphMlp(folder, mlp, true)) },
  {
    engine: 'tfjs',
    kind: 'graph model without signature',
    write: (folder, mlp) => tfjsFile(writeGraphMlp(folder, mlp, false)),
  },
  { engine: 'tfjs', kind: 'layers model', write: (folder, mlp) => tfjsFile(writeLayersMlp(folder, mlp)) },
  { engine: 'tensorflow', kind: 'SavedModel', write: writeSavedMlp },
  { engine: 'tensorflow', kind: 'graph model', write: (folder, mlp) => tfjsFile(writeGraphMlp(folder, mlp, true)) },
  {
    engine: 'tensorflow',
    kind: 'graph model without signature',
    write: (folder, mlp) => tfjsFile(writeGraphMlp(folder, mlp, false)),
  },
  { engine: 'tensorflow', kind: 'layers model', write: (folder, mlp) => tfjsFile(writeLayersMlp(folder, mlp)) },
]

// float32 sums of 16 products of numbers around 1, in another order.
const tolerance = 2e-6

let thread: EngineThread
beforeAll(() => {
  thread = new EngineThread()
})
afterAll(() => thread.end())

test('every engine that is available here has a subject', () => {
  const available = engines.filter((kind) => kind.probe().available).map((kind) => kind.name)
  expect(available.filter((name) => !subjects.some((subject) => subject.engine === name))).toEqual([])
})

test('an engine that is not available says why and what to do, and does not start', async () => {
  for (const kind of engines) {
    const found = kind.probe()
    if (found.available) continue
    expect(found.reason).not.toBe('')
    expect(found.install).not.toBe('')
    await expect(thread.create(kind.name, { threads: 1, device: 'cpu' })).rejects.toThrow(found.reason)
  }
})

for (const subject of subjects) {
  const available = engines.find((kind) => kind.name === subject.engine)!.probe().available
  const suite = available ? describe : describe.skip

  suite(`${subject.engine}, ${subject.kind}`, () => {
    const mlp = makeMlp(7)
    const folder = mkdtempSync(join(tmpdir(), 'millrace-engine-'))
    const file = subject.write(folder, mlp)
    let loaded: LoadedModel
    beforeAll(async () => {
      loaded = await thread.load(subject.engine, file)
    })
    afterAll(() => rmSync(folder, { recursive: true }))

    const features = (data: Float32Array): Tensors => ({
      features: { dtype: 'f32', shape: [data.length / mlp.width, mlp.width], data },
    })
    const expectScores = (answer: Tensors, data: Float32Array): void => {
      const rows = data.length / mlp.width
      expect(Object.keys(answer)).toEqual(['score'])
      expect(answer['score']!.dtype).toBe('f32')
      expect([...answer['score']!.shape]).toEqual([rows, 2])
      expect(distance(answer['score']!.data as Float32Array, computeMlp(mlp, data))).toBeLessThan(tolerance)
    }

    test('declares names, dtypes and shapes, the batch free', () => {
      expect(loaded.inputs).toEqual([{ name: 'features', dtype: 'f32', shape: [null, 6] }])
      expect(loaded.outputs).toEqual([{ name: 'score', dtype: 'f32', shape: [null, 2] }])
    })

    test('inspect says the same', async () => {
      const { inputs, outputs } = loaded
      expect(await thread.inspect(file, [subject.engine])).toEqual({ engine: subject.engine, inputs, outputs })
    })

    test('answers the reference numbers at batch sizes 1 to 33', async () => {
      for (let rows = 1; rows <= 33; rows++) {
        const data = rowsFor(mlp, rows, rows)
        expectScores(await thread.run(loaded.model, features(data)), data)
      }
    })

    test('takes inputs on shared memory, growing, shrinking and at any offset', async () => {
      for (const [i, rows] of [3, 200, 2, 200, 3, 1].entries()) {
        const data = rowsFor(mlp, rows, 100 + i)
        const shared = new Float32Array(new SharedArrayBuffer(data.byteLength + 24), 8, data.length)
        shared.set(data)
        expectScores(await thread.run(loaded.model, features(shared)), data)
      }
    })

    test('takes a view into the middle of a larger array', async () => {
      const whole = rowsFor(mlp, 5, 11)
      const middle = whole.subarray(mlp.width, 4 * mlp.width)
      expectScores(await thread.run(loaded.model, features(middle)), middle)
    })

    test('is right after many runs, and again with other rows', async () => {
      const first = rowsFor(mlp, 4, 12)
      expectScores(await thread.runMany(loaded.model, features(first), 500), first)
      const second = rowsFor(mlp, 4, 13)
      expectScores(await thread.run(loaded.model, features(second)), second)
    })

    test('keeps nothing of a run', async () => {
      const shared = new Float32Array(new SharedArrayBuffer(4 * 64 * mlp.width))
      const many = (times: number): Promise<Tensors> => thread.runMany(loaded.model, features(shared), times)
      await many(1000)
      const before = await thread.memory()
      await many(1000)
      const after = await thread.memory()
      // 1000 batches of 64 rows are 1.5 MB in and 0.5 MB out.
      expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(100_000)
    })

    test('names a missing input', async () => {
      await expect(thread.run(loaded.model, {})).rejects.toThrow(/`features` is missing.*f32\[\*,6\]/)
    })

    test('names an input that the model does not have', async () => {
      const extra: Tensor = { dtype: 'f32', shape: [1], data: new Float32Array(1) }
      await expect(thread.run(loaded.model, { ...features(rowsFor(mlp, 1, 1)), featurs: extra })).rejects.toThrow(
        /no input `featurs`.*`features`/,
      )
    })

    test('names an input of another dtype', async () => {
      const wrong: Tensor = { dtype: 'i32', shape: [1, 6], data: new Int32Array(6) }
      await expect(thread.run(loaded.model, { features: wrong })).rejects.toThrow(/`features` is i32.*takes f32/)
    })

    test.each([[[1, 5]], [[6]], [[1, 1, 6]], [[2, 6, 1]]])('names an input of shape %j', async (shape) => {
      const data = new Float32Array(shape.reduce((product, n) => product * n, 1))
      await expect(thread.run(loaded.model, { features: { dtype: 'f32', shape, data } })).rejects.toThrow(
        `\`features\` has shape [${shape.join(',')}], the model takes [*,6]`,
      )
    })

    test('names an input whose values do not fill its shape', async () => {
      const short: Tensor = { dtype: 'f32', shape: [2, 6], data: new Float32Array(6) }
      await expect(thread.run(loaded.model, { features: short })).rejects.toThrow(/`features` has 6 values.*needs 12/)
    })

    test('runs on after an error', async () => {
      const data = rowsFor(mlp, 2, 14)
      await expect(thread.run(loaded.model, {})).rejects.toThrow()
      expectScores(await thread.run(loaded.model, features(data)), data)
    })

    test('a disposed model refuses to run, others are not disturbed', async () => {
      const other = await thread.load(subject.engine, file)
      await thread.dispose(other.model)
      await thread.dispose(other.model)
      const data = rowsFor(mlp, 2, 15)
      await expect(thread.run(other.model, features(data))).rejects.toThrow('disposed')
      expectScores(await thread.run(loaded.model, features(data)), data)
    })

    test('a file that is no model is refused with its name', async () => {
      const path = join(folder, 'broken')
      writeFileSync(path, '{"format": "graph-')
      await expect(thread.load(subject.engine, { format: file.format, path })).rejects.toThrow(path)
      const missing = join(folder, 'missing')
      await expect(thread.load(subject.engine, { format: file.format, path: missing })).rejects.toThrow(missing)
    })

    test('a device that it cannot use is refused with its name', async () => {
      await expect(thread.create(subject.engine, { threads: 1, device: 'abacus:0' })).rejects.toThrow('abacus:0')
    })
  })
}

function writeOnnxMlp(folder: string, mlp: Mlp): ModelFile {
  const path = join(folder, 'model.onnx')
  writeFileSync(path, writeOnnx(mlpGraph({ input: 'features', output: 'score', layers: mlp.layers })))
  return { format: 'onnx', path }
}

function writeSavedMlp(folder: string, mlp: Mlp): ModelFile {
  writeFileSync(join(folder, 'saved_model.pb'), writeSavedModel(mlpNodes(mlp)))
  return { format: 'savedmodel', path: folder }
}

function tfjsFile(path: string): ModelFile {
  return { format: 'tfjs', path }
}
