import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { writeOnnx, type OnnxValue } from '@millrace/engine'
import {
  column,
  defineWorkflow,
  Engines,
  loadVersion,
  onnx,
  readRepository,
  runOffline,
  type LoadResult,
} from './index'

/*
 * Models of strings: columns of text without a line of code, and by name in preprocess, postprocess and score.
 */

let folder: string
let engines: Engines

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'strings-'))
  engines = new Engines({ threads: 1, device: 'cpu' })
})
afterEach(async () => {
  await engines.dispose()
  rmSync(folder, { recursive: true })
})

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(folder, 'workflows/text/1', path)), { recursive: true })
  writeFileSync(join(folder, 'workflows/text/1', path), content)
}

/** `tidy` is the number that `text` spells, spelt out: '007' becomes '7'. */
function tidy(shape: OnnxValue['shape'] = ['N']): Uint8Array {
  return writeOnnx({
    inputs: [{ name: 'text', dtype: 'string', shape }],
    outputs: [{ name: 'tidy', dtype: 'string', shape }],
    weights: {},
    nodes: [
      { op: 'Cast', inputs: ['text'], outputs: ['number'], attributes: { to: { int: 7 } } },
      { op: 'Cast', inputs: ['number'], outputs: ['tidy'], attributes: { to: { int: 8 } } },
    ],
  })
}

async function load(): Promise<LoadResult> {
  return loadVersion(readRepository(folder).versions[0]!, { engines, store: null, warmMsMax: 50 })
}

async function run(...requests: unknown[]): Promise<unknown[]> {
  const { version, description } = await load()
  if (version === null) throw new Error(description.reason!)
  const answers = await runOffline(version, requests)
  version.dispose()
  return answers.map(({ outputs, message }) => outputs ?? message)
}

function workflow(body: string): string {
  return `import { column, defineWorkflow, onnx, Strings } from '@millrace/workflow'\nexport default defineWorkflow({ ${body} })`
}

describe('a folder with only a model of strings', () => {
  it('takes text and answers text', async () => {
    put('model.onnx', tidy())
    const { version, description } = await load()
    expect(description).toMatchObject({ state: 'ready', warmed: false })
    expect(description.signature).toEqual({
      inputs: [{ name: 'text', dtype: 'string', per: 'row', shape: [], ragged: true }],
      outputs: [{ name: 'tidy', dtype: 'string', per: 'row', shape: [], ragged: true }],
    })
    version!.dispose()
    expect(await run({ text: ['007', '-1', '12'] }, { text: ['08'] })).toEqual([
      { tidy: ['7', '-1', '12'] },
      { tidy: ['8'] },
    ])
  })

  it('is held to its golden requests, and warmed by them', async () => {
    put('model.onnx', tidy())
    put('golden.json', JSON.stringify([{ inputs: { text: ['07'] }, outputs: { tidy: ['7'] } }]))
    expect((await load()).description).toMatchObject({ state: 'ready', warmed: true, golden: { passed: 1 } })
    put('golden.json', JSON.stringify([{ inputs: { text: ['07'] }, outputs: { tidy: ['07'] } }]))
    expect((await load()).description.reason).toContain('golden.json[0]: outputs.tidy[0] is "7", expected "07"')
  })

  it('may have one string a row in a dimension of its own, not several', async () => {
    put('model.onnx', tidy(['N', 1]))
    expect(await run({ text: ['01', '02'] })).toEqual([{ tidy: ['1', '2'] }])
    put('model.onnx', tidy(['N', 3]))
    expect((await load()).description.reason).toContain(
      "tensor 'text' is string[*,3]: a column of strings has one a row",
    )
  })
})

describe('a workflow with a model of strings', () => {
  it('maps columns, per request and of bytes too', async () => {
    put('m.onnx', tidy(['N', 1]))
    for (const dtype of ['string', 'bytes']) {
      const text = (value: string): string => (dtype === 'bytes' ? Buffer.from(value).toString('base64') : value)
      put(
        'workflow.ts',
        workflow(`inputs: { text: column('${dtype}', { per: 'request' }), n: column('u8') },
          outputs: { tidy: column('${dtype}') }, model: onnx('m.onnx')`),
      )
      expect(await run({ text: text('01'), n: [1, 2] }, { text: text('22'), n: [3] })).toEqual([
        { tidy: [text('1'), text('1')] },
        { tidy: [text('22')] },
      ])
    }
  })

  it('gives strings in preprocess and reads them in postprocess', async () => {
    put('m.onnx', tidy())
    put(
      'workflow.ts',
      workflow(`inputs: { a: column('string'), b: column('string') }, outputs: { size: column('u32') },
        model: onnx('m.onnx', { inputs: { text: 'string' }, outputs: { tidy: 'string' } }),
        preprocess({ rows, inputs }, into) {
          into.text([rows], inputs.a)
          into.text([rows], inputs.a.toArray().map((a, row) => a + inputs.b.at(row)))
        },
        postprocess({ rows, outputs }, from) {
          for (let row = 0; row < rows; row++) outputs.size[row] = from.tidy.data.at(row).length * 100 + Number(from.tidy.data.at(row))
        }`),
    )
    expect(await run({ a: ['0', '3'], b: ['1', '4'] })).toEqual([{ size: [101, 234] }])
  })

  it('gives strings to models in score', async () => {
    put('m.onnx', tidy())
    put(
      'workflow.ts',
      workflow(`inputs: { text: column('string') }, outputs: { tidy: column('string') }, models: { speller: onnx('m.onnx', { inputs: { text: 'string' }, outputs: { tidy: 'string' } }) },
        async score({ rows, inputs, outputs }, { speller }) {
          const first = await speller.run({ text: { dtype: 'string', shape: [rows], data: inputs.text } })
          const again = Strings.of(first.tidy.data.toArray().map((text) => text + '0'))
          const { tidy } = await speller.run({ text: { dtype: 'string', shape: [rows], data: again } })
          for (let row = 0; row < rows; row++) outputs.tidy.set(row, tidy.data.bytes(row))
        }`),
    )
    expect(await run({ text: ['01', '2'] })).toEqual([{ tidy: ['10', '20'] }])
  })

  it.each([
    [
      'numbers',
      'into.text([rows], new Float32Array(rows) as never)',
      "'text' is string: it takes a Strings, not Float32",
    ],
    ['nothing', 'into.text([rows], undefined as never)', "'text' is string: it takes a Strings, not undefined"],
    ['too few', "into.text([rows], ['a'])", "'text' of shape [2] takes 2 elements, not 1"],
    ['another shape', "into.text([1, rows], ['a', 'b'])", "'text' is string[*]; shape [1,2] does not fit"],
  ])('names the input that is given %s', async (_, line, message) => {
    put('m.onnx', tidy())
    put(
      'workflow.ts',
      workflow(`inputs: { text: column('string') }, outputs: { tidy: column('string') },
        model: onnx('m.onnx', { inputs: { text: 'string' } }), preprocess({ rows }, into) { ${line} }`),
    )
    await expect(run({ text: ['a', 'b'] })).rejects.toThrow(message)
  })

  it('says that a column of numbers is no input of strings', async () => {
    put('m.onnx', tidy())
    put(
      'workflow.ts',
      workflow(`inputs: { text: column('f32') }, outputs: { tidy: column('string') }, model: onnx('m.onnx')`),
    )
    expect((await load()).description.reason).toContain(
      "model input 'text' (string[*]) does not fit the column f32; change it or write a preprocess",
    )
  })

  it('is typed', () => {
    defineWorkflow({
      inputs: { text: column('string') },
      outputs: { tidy: column('string') },
      model: onnx('m.onnx', { inputs: { text: 'string', n: 'f32' }, outputs: { tidy: 'string' } }),
      preprocess(batch, into) {
        into.text([batch.rows], batch.inputs.text)
        // @ts-expect-error strings are handed over
        into.text([batch.rows])
        // @ts-expect-error no strings
        into.n([batch.rows], batch.inputs.text)
        const n: Float32Array = into.n([batch.rows])
        void n
      },
      postprocess(batch, from) {
        const text: string = from.tidy.data.at(0)
        // @ts-expect-error strings are no numbers
        void from.tidy.data[0]
        batch.outputs.tidy.set(0, text)
      },
    })
  })
})
