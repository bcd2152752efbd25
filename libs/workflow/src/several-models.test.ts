import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { writeOnnx, type OnnxGraph } from '@millrace/engine'
import { Engines, loadVersion, readRepository, runBatch, runOffline, type BatchSink, type LoadResult } from './index'
import { columnsFromJson } from './columns-json'
import { memoryBatch } from './memory-batch'

/*
 * A workflow of three models, as a text reader is one: what the first finds decides how many rows the next get.
 */

let folder: string
let engines: Engines

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'several-'))
  engines = new Engines({ threads: 1, device: 'cpu' })
  for (const [name, op] of [
    ['detect', 'Relu'],
    ['classify', 'Neg'],
    ['recognise', 'Abs'],
  ] as const)
    put(`workflows/reader/1/${name}.onnx`, unary(op))
})
afterEach(async () => {
  await engines.dispose()
  rmSync(folder, { recursive: true })
})

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content)
}

/** `y = op(x)`, f32[*,2]. */
function unary(op: string): Uint8Array {
  const graph: OnnxGraph = {
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 2] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 2] }],
    weights: {},
    nodes: [{ op, inputs: ['x'], outputs: ['y'] }],
  }
  return writeOnnx(graph)
}

/** `parts` pairs a row; those that `detect` leaves above zero go on to the other two, in one run each. */
function reader(score = '', declared = "{ inputs: { x: 'f32' }, outputs: { y: 'f32' } }"): string {
  return `
import { column, defineWorkflow, onnx } from '@millrace/workflow'

const declared = ${declared} as const

export default defineWorkflow({
  inputs: { parts: column('f32', { ragged: true }) },
  outputs: { text: column('string'), kept: column('u32') },
  models: {
    detect: onnx('detect.onnx', declared),
    classify: onnx('classify.onnx', declared),
    recognise: onnx('recognise.onnx', declared),
  },
  batch: { rowsMax: 8 },
  async score(batch, models) {
    ${score}
    for (let row = 0; row < batch.rows; row++) {
      const parts = batch.inputs.parts.at(row)
      const found = await models.detect.run({ x: { dtype: 'f32', shape: [parts.length / 2, 2], data: parts } })
      const kept: number[] = []
      for (let i = 0; i < parts.length; i += 2)
        if (found.y.data[i]! > 0) kept.push(found.y.data[i]!, found.y.data[i + 1]!)
      batch.outputs.kept[row] = kept.length / 2
      if (kept.length === 0) continue
      const data = Float32Array.from(kept)
      const { y } = await models.classify.run({ x: { dtype: 'f32', shape: [kept.length / 2, 2], data } })
      const read = await models.recognise.run({ x: y })
      batch.outputs.text.set(row, read.y.data.join(' '))
    }
  },
})`
}

async function load(): Promise<LoadResult> {
  return loadVersion(readRepository(folder).versions[0]!, { engines, store: null, warmMsMax: 50 })
}

async function loaded(): Promise<NonNullable<LoadResult['version']>> {
  const { version, description } = await load()
  if (version === null) throw new Error(description.reason!)
  return version
}

const requests = [
  {
    parts: [
      [1, 2, -3, 4, 5, -6],
      [-1, 1],
    ],
  },
  { parts: [[7, 8]] },
]
const answers = [
  { code: 'OK', outputs: { text: ['1 2 5 0', ''], kept: [2, 0] } },
  { code: 'OK', outputs: { text: ['7 8'], kept: [1] } },
]

describe('a workflow of several models', () => {
  it('runs each as often and with as many rows as its score says', async () => {
    put('workflows/reader/1/workflow.ts', reader())
    const version = await loaded()
    expect(await runOffline(version, requests)).toEqual(answers)
    expect(await runOffline(version, requests)).toEqual(answers)
    version.dispose()
  })

  it('describes every model, and is warmed by its golden requests', async () => {
    put('workflows/reader/1/workflow.ts', reader())
    const goldens = requests.map(({ parts }, i) => ({ inputs: { parts }, outputs: answers[i]!.outputs }))
    put('workflows/reader/1/golden.json', JSON.stringify(goldens))
    const { version, description } = await load()
    expect(description).toMatchObject({ state: 'ready', golden: { passed: 2, failed: 0 }, batchRowsMax: 8 })
    expect(description.models.map(({ name, engine, inputs }) => [name, engine, inputs[0]!.name])).toEqual([
      ['detect', 'onnxruntime', 'x'],
      ['classify', 'onnxruntime', 'x'],
      ['recognise', 'onnxruntime', 'x'],
    ])
    version!.dispose()
  })

  it('counts the time in its models as score', async () => {
    put('workflows/reader/1/workflow.ts', reader('await new Promise((resolve) => setTimeout(resolve, 50))'))
    const version = await loaded()
    const request = columnsFromJson(version.signature.inputs, requests[0])
    const sink = sinkOf()
    await runBatch(version, memoryBatch(version.signature, [{ request, begin: 0, end: 2 }]), sink)
    expect(sink.failures).toEqual([])
    expect(sink.scoreUs).toBeGreaterThan(0)
    // The 50 ms that `score` slept are not the models'.
    expect(sink.scoreUs).toBeLessThan(50_000)
    version.dispose()
  })

  it.each([
    [
      'an input that does not fit',
      "await models.classify.run({ x: { dtype: 'f32', shape: [1, 3], data: new Float32Array(3) } })",
      /failed in score: model 'classify': input `x` has shape \[1,3\], the model takes \[\*,2\]/,
    ],
    [
      'an input that is missing',
      'await models.recognise.run({} as never)',
      /failed in score: model 'recognise': input `x` is missing/,
    ],
    [
      'two runs of one model at once',
      "const x = { dtype: 'f32', shape: [1, 2], data: new Float32Array(2) } as const\n" +
        'await Promise.all([models.detect.run({ x }), models.detect.run({ x })])',
      /failed in score: model 'detect' runs already/,
    ],
  ])('names the model of %s, and serves the next batch', async (_, line, message) => {
    put('workflows/reader/1/workflow.ts', reader(`if (batch.rows === 3) { ${line} }`))
    const version = await loaded()
    await expect(runOffline(version, [{ parts: [[1], [2], [3]] }])).rejects.toThrow(message)
    expect(await runOffline(version, requests.slice(0, 1))).toEqual(answers.slice(0, 1))
    version.dispose()
  })

  it('names the model of a run that nobody waits for', async () => {
    const x = "{ dtype: 'f32', shape: [batch.rows, 1], data: batch.inputs.x }"
    put(
      'workflows/reader/1/workflow.ts',
      `
import { column, defineWorkflow, onnx } from '@millrace/workflow'

export default defineWorkflow({
  inputs: { x: column('f32') },
  outputs: { y: column('f32') },
  models: { detect: onnx('detect.onnx') },
  score(batch, models) {
    void models.detect.run({ x: ${x} })
  },
})`,
    )
    const version = await loaded()
    await expect(runOffline(version, [{ x: [1] }])).rejects.toThrow(
      "failed in score: score ended before model 'detect' had: await models.detect.run(...)",
    )
    version.dispose()
  })

  it('fails to load with the name of the model that is wrong, and lets the others go', async () => {
    put('workflows/reader/1/workflow.ts', reader('', "{ inputs: { x: 'f32' }, outputs: { z: 'f32' } }"))
    expect((await load()).description.reason).toContain("models.detect.outputs.z: the model has 'y' f32[*,2]")
    put('workflows/reader/1/workflow.ts', reader('', "{ inputs: {}, outputs: { y: 'f32' } }"))
    expect((await load()).description.reason).toContain("models.detect.inputs leaves out 'x'")
    put('workflows/reader/1/workflow.ts', reader())
    rmSync(join(folder, 'workflows/reader/1/recognise.onnx'))
    expect((await load()).description.reason).toMatch(/^models.recognise: .*recognise.onnx/)
  })
})

function sinkOf(): BatchSink & { failures: unknown[] } {
  const failures: unknown[] = []
  return {
    factsUs: 0,
    scoreUs: 0,
    failures,
    refuse: () => undefined,
    failed: (_, error) => failures.push(error),
  }
}
