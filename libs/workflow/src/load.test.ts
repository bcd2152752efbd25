import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { mlpGraph, writeOnnx, type OnnxGraph } from '@millrace/engine'
import { MemoryStore } from '@millrace/facts'
import {
  Engines,
  loadVersion,
  readRepository,
  runOffline,
  runRepository,
  type LoadResult,
  type OfflineAnswer,
} from './index'
import type { VersionState } from './description'

/*
 * Workflows through the public doors: files in a repository outside this workspace, loaded, checked, run offline.
 */

let folder: string
let engines: Engines
let store: MemoryStore

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'load-'))
  engines = new Engines({ threads: 1, device: 'cpu' })
  store = new MemoryStore()
  await store.declare({
    name: 'titles',
    key: 'string',
    fields: [
      { name: 'genre', dtype: 'string', shape: [] },
      { name: 'runtime', dtype: 'f32', shape: [] },
      { name: 'ratings', dtype: 'f32', shape: [2] },
    ],
  })
  await store.write('titles', [
    ['up', { genre: 'Adventure', runtime: 96, ratings: [8.2, 8.4] }],
    ['heat', { genre: 'Crime', runtime: 170, ratings: [8.3, 7.6] }],
  ])
  await store.declare({ name: 'accounts', key: 'u64', fields: [{ name: 'taste', dtype: 'f32', shape: [] }] })
  await store.write('accounts', [
    [7n, { taste: 2 }],
    [8n, { taste: -1 }],
  ])
})
afterEach(async () => {
  await engines.dispose()
  await store.close()
  rmSync(folder, { recursive: true })
})

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content)
}

/** score = 2 a - b + 0.5, from `features` f32[*,2]; relu in between keeps it positive parts only. */
const model = writeOnnx(
  mlpGraph({
    input: 'features',
    output: 'score',
    layers: [{ weights: new Float32Array([2, -1]), bias: new Float32Array([0.5]), activation: 'linear' }],
  }),
)

function graph(change: Partial<OnnxGraph>): Uint8Array {
  return writeOnnx({
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 2] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 2] }],
    weights: {},
    nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'] }],
    ...change,
  })
}

async function load(name: string, version = 1, onState?: (state: VersionState) => void): Promise<LoadResult> {
  const found = readRepository(folder).versions.find((other) => other.name === name && other.version === version)
  return loadVersion(found!, { engines, store, warmMsMax: 50, ...(onState === undefined ? {} : { onState }) })
}

async function loaded(name: string): Promise<NonNullable<LoadResult['version']>> {
  const { version, description } = await load(name)
  if (version === null) throw new Error(description.reason!)
  return version
}

async function reason(name: string): Promise<string> {
  const { description } = await load(name)
  expect(description.state).toBe('failed')
  return description.reason!
}

const ranking = `
import { column, defineWorkflow, fact, field, onnx } from '@millrace/workflow'
import { double } from './helpers'

export default defineWorkflow({
  inputs: { account: column('u64', { per: 'request' }), title: column('string'), boost: column('f32') },
  outputs: { score: column('f32'), label: column('string'), rows: column('u32', { per: 'request' }) },
  facts: {
    titles: fact('titles', {
      by: 'title',
      fields: { genre: field('string'), runtime: field('f32'), ratings: field('f32', { shape: [2] }) },
      missing: { genre: 'none', runtime: 100, ratings: [5, 5] },
    }),
    account: fact('accounts', { by: 'account', fields: { taste: field('f32') }, missing: 'refuse' }),
  },
  model: onnx('model.onnx', { inputs: { features: 'f32' }, outputs: { score: 'f32' } }),
  batch: { rowsMax: 16 },
  preprocess(batch, into) {
    const features = into.features([batch.rows, 2])
    const { runtime, ratings } = batch.facts.titles
    for (let i = 0; i < batch.rows; i++) {
      const request: number = batch.requestOf[i]!
      features[2 * i] = double(runtime[i]! / 200) + batch.inputs.boost[i]!
      features[2 * i + 1] = batch.facts.account.taste[request]! * ratings[2 * i]!
    }
    return batch.facts.titles.genre.toArray()
  },
  postprocess(batch, from, genres) {
    batch.outputs.score.set(from.score.data)
    genres.forEach((genre, i) => batch.outputs.label.set(i, genre + (batch.found.titles[i] ? '' : '?')))
    for (let i = 0; i < batch.rows; i++) batch.outputs.rows[batch.requestOf[i]!]! += 1
  },
})
`

function putRanking(): void {
  put('workflows/ranking/1/workflow.ts', ranking)
  put('workflows/ranking/1/helpers.ts', 'export const double = (x: number): number => 2 * x\n')
  put('workflows/ranking/1/model.onnx', model)
}

/** The ranking's score by hand. */
function score(runtime: number, boost: number, taste: number, rating: number): number {
  return 2 * ((2 * runtime) / 200 + boost) - taste * rating + 0.5
}

describe('a workflow file', () => {
  it('runs facts, preprocess, score and postprocess', async () => {
    putRanking()
    const states: VersionState[] = []
    const { version, description } = await load('ranking', 1, (state) => states.push(state))
    expect(description.reason).toBeNull()
    expect(states).toEqual(['loading', 'validating', 'warming', 'ready'])
    expect(description).toMatchObject({
      state: 'ready',
      batchRowsMax: 16,
      facts: ['titles', 'accounts'],
      models: [{ name: 'model', format: 'onnx', inputs: [{ name: 'features', shape: [null, 2] }] }],
    })
    const answers = await runOffline(version!, [
      { account: 7, title: ['up', 'heat', 'lost'], boost: [0, 1, 2] },
      { account: 8, title: ['heat'], boost: [0.5] },
    ])
    const [first, second] = answers
    expect(first!.outputs!.label).toEqual(['Adventure', 'Crime', 'none?'])
    const wanted = [score(96, 0, 2, 8.2), score(170, 1, 2, 8.3), score(100, 2, 2, 5)]
    wanted.forEach((value, i) => expect((first!.outputs!.score as number[])[i]).toBeCloseTo(value, 4))
    expect(second!.outputs!.label).toEqual(['Crime'])
    expect((second!.outputs!.score as number[])[0]).toBeCloseTo(score(170, 0.5, -1, 8.3), 4)
    expect([first!.outputs!.rows, second!.outputs!.rows]).toEqual([3, 1])
  })

  it('refuses the request whose fact is missing, and only that one', async () => {
    putRanking()
    const answers = await runOffline(await loaded('ranking'), [
      { account: 7, title: ['up'], boost: [0] },
      { account: 9, title: ['up', 'up'], boost: [0, 0] },
      { account: 8, title: ['up'], boost: [0] },
      { account: 8, title: ['up'], boost: ['x'] },
    ])
    expect(answers.map(({ code }) => code)).toEqual(['OK', 'NOT_FOUND', 'OK', 'INVALID_ARGUMENT'])
    expect(answers[1]!.message).toBe("table 'accounts' has no row for key 9 (input 'account')")
    expect(answers[3]!.message).toBe('inputs.boost[0]: expected f32, got "x"')
    expect((answers[2]!.outputs!.score as number[])[0]).toBeCloseTo(score(96, 0, -1, 8.2), 4)
  })

  it('answers alike at every batch size', async () => {
    putRanking()
    const version = await loaded('ranking')
    const titles = ['up', 'heat', 'lost']
    const requests = Array.from({ length: 11 }, (_, r) => ({
      account: r % 4 === 3 ? 9 : 7 + (r % 2),
      title: Array.from({ length: 1 + ((r * 5) % 7) }, (__, i) => titles[(r + i) % 3]!),
      boost: Array.from({ length: 1 + ((r * 5) % 7) }, (__, i) => r + i / 8),
    }))
    const alone: OfflineAnswer[] = []
    for (const request of requests) alone.push((await runOffline(version, [request]))[0]!)
    expect(new Set(alone.map(({ code }) => code))).toEqual(new Set(['OK', 'NOT_FOUND']))
    for (let batchRows = 1; batchRows <= 16; batchRows++) {
      const together = await runOffline(version, requests, { batchRows })
      together.forEach((answer, r) => {
        expect(answer.code).toBe(alone[r]!.code)
        expect(answer.outputs?.label).toEqual(alone[r]!.outputs?.label)
        expect(answer.outputs?.score).toEqual(alone[r]!.outputs?.score)
      })
    }
  })

  it('names the golden request and the line of the file when its functions throw', async () => {
    put(
      'workflows/throws/1/workflow.js',
      `const { column, defineWorkflow } = require('@millrace/workflow')
      module.exports = defineWorkflow({
        inputs: { x: column('f32') }, outputs: { y: column('f32') },
        postprocess({ inputs, outputs }) { outputs.y[0] = inputs.z[0] },
      })`,
    )
    put('workflows/throws/1/golden.json', '[{"inputs": {"x": [1]}, "outputs": {"y": [1]}}]')
    const { description } = await load('throws')
    expect(description.reason).toMatch(/golden\.json\[0\]: throws@1 failed in postprocess: .*workflow\.js:4:/)
  })

  it('fails with more inputs than a request carries', async () => {
    put(
      'workflows/wide/1/workflow.js',
      `const { column, defineWorkflow } = require('@millrace/workflow')
      const inputs = Object.fromEntries(Array.from({ length: 65 }, (_, i) => ['c' + i, column('f32')]))
      module.exports = defineWorkflow({ inputs, outputs: { y: column('f32') }, postprocess() {} })`,
    )
    const { description } = await load('wide')
    expect(description).toMatchObject({ state: 'failed', reason: '65 inputs; a request carries at most 64 columns' })
  })

  it('may be JavaScript, asynchronous, without a model, with lists and refusals of its own', async () => {
    put(
      'workflows/sums/1/workflow.js',
      `const { Code, column, defineWorkflow } = require('@millrace/workflow')
      module.exports = defineWorkflow({
        inputs: { ids: column('i32', { ragged: true }), blob: column('bytes') },
        outputs: { sum: column('i64'), blob: column('bytes') },
        async preprocess(batch) {
          await new Promise((resolve) => setImmediate(resolve))
          for (let i = 0; i < batch.rows; i++)
            if (batch.inputs.ids.size(i) === 0) batch.refuse(batch.requestOf[i], Code.INVALID_ARGUMENT, 'row ' + i + ' is empty')
          return batch.inputs.ids
        },
        async postprocess(batch, from, ids) {
          for (let i = 0; i < batch.rows; i++) {
            batch.outputs.sum[i] = BigInt(ids.at(i).reduce((sum, id) => sum + id, 0))
            batch.outputs.blob.set(i, batch.inputs.blob.bytes(i))
          }
        },
      })`,
    )
    const answers = await runOffline(await loaded('sums'), [
      { ids: [[1, 2, 3], [-4]], blob: ['AAE=', 'Ag=='] },
      { ids: [[], [1]], blob: ['', ''] },
      { ids: [[2_000_000_000, 2_000_000_000]], blob: ['AAECAw=='] },
    ])
    expect(answers).toEqual([
      { code: 'OK', outputs: { sum: [6, -4], blob: ['AAE=', 'Ag=='] } },
      { code: 'INVALID_ARGUMENT', message: 'row 2 is empty' },
      { code: 'OK', outputs: { sum: [4_000_000_000], blob: ['AAECAw=='] } },
    ])
  })

  it('maps columns to tensors by name where it has no functions', async () => {
    put(
      'workflows/mapped/1/workflow.ts',
      `import { column, defineWorkflow, onnx } from '@millrace/workflow'
      export default defineWorkflow({
        inputs: { x: column('f32', { shape: [2], per: 'request' }), other: column('string') },
        outputs: { y: column('f32', { shape: [2] }) },
        model: onnx('model.onnx'),
      })`,
    )
    put('workflows/mapped/1/model.onnx', graph({}))
    const version = await loaded('mapped')
    expect(
      await runOffline(version, [
        { x: [1, 2], other: ['a', 'b'] },
        { x: [3, 4], other: ['c'] },
      ]),
    ).toEqual([
      {
        code: 'OK',
        outputs: {
          y: [
            [-1, -2],
            [-1, -2],
          ],
        },
      },
      { code: 'OK', outputs: { y: [[-3, -4]] } },
    ])
  })

  it('starts each batch with zeros, whatever the batch before left', async () => {
    put(
      'workflows/sparse/1/workflow.ts',
      `import { column, defineWorkflow, onnx } from '@millrace/workflow'
      export default defineWorkflow({
        inputs: { at: column('i32') },
        outputs: { y: column('f32', { shape: [2] }) },
        model: onnx('model.onnx', { inputs: { x: 'f32' } }),
        preprocess(batch, into) {
          const x = into.x([batch.rows, 2])
          batch.inputs.at.forEach((at, i) => { x[2 * i + at] = 1 })
        },
      })`,
    )
    put('workflows/sparse/1/model.onnx', graph({}))
    const version = await loaded('sparse')
    for (const at of [[0, 0, 0], [1], [1, 0, 1], [0, 1, 0, 1, 0]]) {
      const [answer] = await runOffline(version, [{ at }])
      expect(answer!.outputs!.y).toEqual(at.map((one) => (one === 0 ? [-1, -0] : [-0, -1])))
    }
  })

  it('that throws says where', async () => {
    put(
      'workflows/throws/1/workflow.ts',
      `import { column, defineWorkflow } from '@millrace/workflow'
      export default defineWorkflow({
        inputs: { x: column('f32') }, outputs: { y: column('f32') },
        postprocess(batch) { throw new Error('no such luck') },
      })`,
    )
    await expect(runOffline(await loaded('throws'), [{ x: [1] }])).rejects.toThrow(
      /throws@1 failed in postprocess: no such luck, at .*throws\/1\/workflow\.ts:4:\d+$/,
    )
  })
})

describe('a folder with only a model', () => {
  it('has the signature of its model', async () => {
    put('workflows/plain/3/model.onnx', graph({}))
    const { version, description } = await load('plain', 3)
    expect(description.signature).toEqual({
      inputs: [{ name: 'x', dtype: 'f32', per: 'row', shape: [2], ragged: false }],
      outputs: [{ name: 'y', dtype: 'f32', per: 'row', shape: [2], ragged: false }],
    })
    expect(description.batchRowsMax).toBe(256)
    const rows = Array.from({ length: 600 }, (_, i) => [i, -i - 1])
    const [answer] = await runOffline(version!, [{ x: rows }])
    expect(answer!.outputs!.y).toEqual(rows.map(([a, b]) => [-a!, -b!]))
  })

  it('takes one row a batch where the first dimension is 1', async () => {
    put(
      'workflows/one/1/model.onnx',
      graph({
        inputs: [{ name: 'x', dtype: 'f32', shape: [1, 2] }],
        outputs: [{ name: 'y', dtype: 'f32', shape: [1, 2] }],
      }),
    )
    const { version, description } = await load('one')
    expect(description.batchRowsMax).toBe(1)
    const [answer] = await runOffline(version!, [
      {
        x: [
          [1, 2],
          [3, 4],
        ],
      },
    ])
    expect(answer!.outputs!.y).toEqual([
      [-1, -2],
      [-3, -4],
    ])
  })

  it('fails where a dimension has no size', async () => {
    put('workflows/free/1/model.onnx', graph({ inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 'T'] }] }))
    expect(await reason('free')).toContain("tensor 'x' is f32[*,*]: dimension 1 is free")
    put(
      'workflows/four/1/model.onnx',
      graph({
        inputs: [{ name: 'x', dtype: 'f32', shape: [4, 2] }],
        outputs: [{ name: 'y', dtype: 'f32', shape: [4, 2] }],
      }),
    )
    expect(await reason('four')).toContain("model input 'x' is f32[4,2]: its first dimension, the rows, is free or 1")
    put('workflows/empty/1/notes.txt', '')
    expect(await reason('empty')).toContain('neither a workflow.ts or workflow.js nor a model file')
  })
})

describe('golden requests', () => {
  const golden = (y: unknown, more: object = {}): string =>
    JSON.stringify([{ inputs: { x: [[1, 2]] }, outputs: { y }, ...more }])

  it('let a version through that answers them', async () => {
    put('workflows/good/1/model.onnx', graph({}))
    put('workflows/good/1/golden.json', golden([[-1, -2.0001]], { tolerance: 1e-3 }))
    put('workflows/good/1/golden/more.json', JSON.stringify([{ inputs: { x: [1] }, code: 'INVALID_ARGUMENT' }]))
    const { description } = await load('good')
    expect([description.state, description.reason]).toEqual(['ready', null])
    expect(description.golden).toEqual({ passed: 2, failed: 0 })
  })

  it('fail a version, naming the first value that differs', async () => {
    put('workflows/bad/1/model.onnx', graph({}))
    put('workflows/bad/1/golden.json', golden([[-1, -2.5]]))
    const { description } = await load('bad')
    expect(description.state).toBe('failed')
    expect(description.golden).toEqual({ passed: 0, failed: 1 })
    expect(description.reason).toBe(
      '1 of 1 golden requests failed: golden.json[0]: outputs.y[0][1] is -2, expected -2.5 within 0.00001',
    )
  })

  it('fail a version when they are not what they should be', async () => {
    put('workflows/a/1/model.onnx', graph({}))
    put('workflows/a/1/golden.json', '{')
    expect(await reason('a')).toContain('golden.json is not JSON')
    put('workflows/a/1/golden.json', '[{"input": {}}]')
    expect(await reason('a')).toContain('golden.json: 0')
    put('workflows/a/1/golden.json', golden([[1]]))
    expect(await reason('a')).toContain('golden.json[0]: outputs.y[0]: expected 2 values')
  })
})

describe('a version that cannot serve says why', () => {
  async function fails(body: string, files: Record<string, string | Uint8Array> = {}): Promise<string> {
    put(
      'workflows/w/1/workflow.ts',
      `import { column, defineWorkflow, fact, field, onnx } from '@millrace/workflow'\n${body}`,
    )
    for (const [name, content] of Object.entries(files)) put(`workflows/w/1/${name}`, content)
    return reason('w')
  }
  const io = `inputs: { t: column('string'), x: column('f32', { shape: [2] }) }, outputs: { y: column('f32', { shape: [2] }) }`
  const post = 'postprocess() {}'

  it.each<[string, string, string]>([
    ['a syntax error', 'export default {{', 'workflow.ts'],
    ['an import that is not there', `import './nowhere'\nexport default 1`, 'nowhere'],
    ['another default export', 'export default 1', 'its default export is not made by defineWorkflow'],
    ['a wrong declaration', `export default defineWorkflow({ ${io} })`, 'a model, a preprocess or a postprocess'],
    [
      'a table that is not there',
      `export default defineWorkflow({ ${io}, facts: { f: fact('films', { by: 't', fields: { genre: field('string') }, missing: 'refuse' }) }, ${post} })`,
      "facts.f: the fact store has no table 'films' (it has 'titles', 'accounts')",
    ],
    [
      'a field that is not there',
      `export default defineWorkflow({ ${io}, facts: { f: fact('titles', { by: 't', fields: { budget: field('f32') }, missing: 'refuse' }) }, ${post} })`,
      "facts.f: table 'titles' has no field 'budget' (it has genre, runtime, ratings)",
    ],
    [
      'a field of another type',
      `export default defineWorkflow({ ${io}, facts: { f: fact('titles', { by: 't', fields: { ratings: field('f32', { shape: [3] }) }, missing: 'refuse' }) }, ${post} })`,
      "facts.f.ratings is declared f32[3], table 'titles' has f32[2]",
    ],
    [
      'keys of another type',
      `export default defineWorkflow({ ${io}, facts: { f: fact('accounts', { by: 't', fields: { taste: field('f32') }, missing: 'refuse' }) }, ${post} })`,
      "facts.f: table 'accounts' has u64 keys, input 't' is string",
    ],
    [
      'a tensor of another name',
      `export default defineWorkflow({ ${io}, model: onnx('m.onnx', { inputs: { z: 'f32' } }) })`,
      "model.inputs.z: the model has 'x' f32[*,2]",
    ],
    [
      'a tensor of another type',
      `export default defineWorkflow({ ${io}, model: onnx('m.onnx', { inputs: { x: 'i64' } }) })`,
      'model.inputs.x is declared i64, the model has f32',
    ],
    [
      'an output that nobody writes',
      `export default defineWorkflow({ inputs: { x: column('f32', { shape: [2] }) }, outputs: { label: column('string') }, model: onnx('m.onnx') })`,
      "output 'label' is no output of the model",
    ],
    [
      'a column of another shape',
      `export default defineWorkflow({ inputs: { x: column('f32', { shape: [3] }) }, outputs: { y: column('f32', { shape: [2] }) }, model: onnx('m.onnx') })`,
      "model input 'x' (f32[*,2]) does not fit the column f32[3]",
    ],
    ['a model file that is not there', `export default defineWorkflow({ ${io}, model: onnx('n.onnx') })`, 'n.onnx'],
  ])('%s', async (_, body, wanted) => {
    expect(await fails(body, { 'm.onnx': graph({}) })).toContain(wanted)
  })

  it('no fact store', async () => {
    put('workflows/w/1/workflow.ts', ranking)
    put('workflows/w/1/helpers.ts', 'export const double = (x: number): number => 2 * x\n')
    put('workflows/w/1/model.onnx', model)
    await expect(runRepository(folder, 'w', 1, [])).rejects.toThrow(
      'w@1: it reads facts of titles, accounts, but the repository has no facts/ folder',
    )
    await expect(runRepository(folder, 'w', 2, [])).rejects.toThrow('has no w@2; it has w@1')
  })
})
