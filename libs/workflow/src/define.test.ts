import { attribute, column, defineWorkflow, fact, field, onnx, tfjs } from './index'

/*
 * The `@ts-expect-error` lines are the test of the types: `tsc -p tsconfig.test.json` fails when one of them
 * compiles, or when a line without the mark does not.
 */

const inputs = {
  account: column('u64', { per: 'request' }),
  title: column('string'),
  history: column('i32', { ragged: true }),
  vector: column('f32', { shape: [4] }),
}

const titles = fact('titles', {
  by: 'title',
  fields: { genre: field('string'), runtime: field('f32'), tags: field('i32', { shape: [3] }) },
  missing: { genre: 'unknown', runtime: 90, tags: [0, 0, 0] },
})

describe('defineWorkflow', () => {
  it('types columns, facts and tensors from the declaration', () => {
    const workflow = defineWorkflow({
      inputs,
      outputs: { score: column('f32'), label: column('string'), best: column('i64', { per: 'request' }) },
      facts: { titles, profile: fact('profiles', { by: 'account', fields: { age: field('u8') }, missing: 'refuse' }) },
      model: onnx('model.onnx', { inputs: { features: 'f32', ids: 'i64' }, outputs: { score: 'f32' } }),
      batch: { rowsMax: 64, waitUs: 100 },
      preprocess(batch, into) {
        const account: BigUint64Array = batch.inputs.account
        const title: string = batch.inputs.title.at(0)
        const history: Int32Array = batch.inputs.history.at(0)
        const vector: Float32Array = batch.inputs.vector
        const genre: string = batch.facts.titles.genre.at(0)
        const runtime: Float32Array = batch.facts.titles.runtime
        const tags: Int32Array = batch.facts.titles.tags
        const age: Uint8Array = batch.facts.profile.age
        const found: Uint8Array = batch.found.titles
        const features: Float32Array = into.features([batch.rows, 64])
        const ids: BigInt64Array = into.ids([batch.rows])
        // @ts-expect-error no such input
        void batch.inputs.titel
        // @ts-expect-error a string column has no elements
        void batch.inputs.title[0].length
        // @ts-expect-error no such fact
        void batch.facts.catalogue
        // @ts-expect-error no such field
        void batch.facts.titles.budget
        // @ts-expect-error no such tensor
        void into.feature
        // @ts-expect-error another dtype
        into.ids([batch.rows], new Float32Array(1))
        void [account, title, history, vector, genre, runtime, tags, age, found, features, ids]
        return { widths: new Uint32Array(batch.rows) }
      },
      postprocess(batch, from, carried) {
        batch.outputs.score.set(from.score.data)
        batch.outputs.label.set(0, 'good')
        batch.outputs.best[0] = 1n
        const widths: Uint32Array = carried.widths
        // @ts-expect-error no such output
        void batch.outputs.scores
        // @ts-expect-error no such tensor
        void from.features
        // @ts-expect-error i64 takes bigint
        batch.outputs.best[0] = 1
        // @ts-expect-error not carried
        void carried.heights
        void widths
      },
    })
    expect(workflow.signature.inputs.map((c) => [c.name, c.dtype, c.per, c.ragged])).toEqual([
      ['account', 'u64', 'request', false],
      ['title', 'string', 'row', true],
      ['history', 'i32', 'row', true],
      ['vector', 'f32', 'row', false],
    ])
    expect(workflow.facts.map((f) => [f.name, f.table, f.by, f.per, f.key])).toEqual([
      ['titles', 'titles', 'title', 'row', 'string'],
      ['profile', 'profiles', 'account', 'request', 'u64'],
    ])
    expect(workflow.batchRowsMax).toBe(64)
    expect(workflow.batchWaitUs).toBe(100)
  })

  it('carries what an asynchronous preprocess resolves to', () => {
    defineWorkflow({
      inputs: { image: column('bytes') },
      outputs: { width: column('i32') },
      async preprocess(batch) {
        await Promise.resolve()
        return { width: batch.rows }
      },
      postprocess(batch, _from, carried) {
        batch.outputs.width.fill(carried.width)
        // @ts-expect-error the promise has been awaited
        void carried.then
      },
    })
  })

  it('types the attributes of the context', () => {
    const workflow = defineWorkflow({
      inputs: { x: column('f32') },
      outputs: { y: column('f32') },
      context: {
        country: attribute('text'),
        age: attribute('number', { missing: 0 }),
        kids: attribute('truth', { missing: false }),
        traffic: attribute('text'),
      },
      postprocess({ rows, requestOf, context }) {
        const country: string = context.country.at(requestOf[0]!)
        const age: Float64Array = context.age
        const kids: Uint8Array = context.kids
        // @ts-expect-error not declared
        void context.device
        // @ts-expect-error a text has no elements
        void context.country[0].length
        void [rows, country, age, kids]
      },
    })
    expect(
      workflow.signature.context?.map(({ name, dtype, per, kind, missing }) => [name, dtype, per, kind, missing]),
    ).toEqual([
      ['country', 'string', 'request', 'text', null],
      ['age', 'f64', 'request', 'number', 0],
      ['kids', 'bool', 'request', 'truth', false],
      // What a request that does not say it is.
      ['traffic', 'string', 'request', 'text', 'real'],
    ])
    const declared = { inputs: { x: column('f32') }, outputs: {}, postprocess: (): void => undefined }
    // @ts-expect-error another kind
    expect(() => defineWorkflow({ ...declared, context: { age: attribute('number', { missing: '0' }) } })).toThrow(
      'context.age: missing is "0", which is no number',
    )
    // @ts-expect-error no such kind
    expect(() => defineWorkflow({ ...declared, context: { age: attribute('integer') } })).toThrow(
      "context.age: is 'text', 'number' or 'truth', not 'integer'",
    )
    expect(() => defineWorkflow({ ...declared, context: { tenant: attribute('number') } })).toThrow(
      'context.tenant: is a text in every request',
    )
  })

  it('types several models by name, and their tensors both ways', () => {
    const workflow = defineWorkflow({
      inputs: { image: column('f32', { shape: [4] }) },
      outputs: { text: column('string'), sure: column('f32') },
      models: {
        detect: onnx('detect.onnx', { inputs: { x: 'f32' }, outputs: { boxes: 'f32', count: 'i64' } }),
        recognise: tfjs('model.json', { inputs: { crop: 'f32', length: 'i32' }, outputs: { ids: 'i32' } }),
      },
      async score(batch, models) {
        const x = batch.inputs.image
        const { boxes, count } = await models.detect.run({ x: { dtype: 'f32', shape: [batch.rows, 4], data: x } })
        const [crops, counts]: [Float32Array, BigInt64Array] = [boxes.data, count.data]
        const length = { dtype: 'i32', shape: [1], data: new Int32Array(1) } as const
        const { ids } = await models.recognise.run({ crop: { dtype: 'f32', shape: [1, 4], data: crops }, length })
        const words: Int32Array = ids.data
        batch.outputs.text.set(0, String(words[0]))
        batch.outputs.sure.fill(0)
        // @ts-expect-error no such model
        void models.detekt
        // @ts-expect-error an input is missing
        void models.recognise.run({ length })
        // @ts-expect-error another dtype
        void models.detect.run({ x: { dtype: 'i32', shape: [1], data: new Int32Array(1) } })
        // @ts-expect-error another array than its dtype's
        void models.detect.run({ x: { dtype: 'f32', shape: [1], data: new Int32Array(1) } })
        // @ts-expect-error no such model output
        void (await models.recognise.run({ crop: boxes, length })).boxes
        void counts
      },
    })
    expect(Object.entries(workflow.models).map(([name, { format }]) => [name, format])).toEqual([
      ['detect', 'onnx'],
      ['recognise', 'tfjs'],
    ])
  })

  it('refuses declarations that do not fit together, in types and at run time', () => {
    const postprocess = (): void => undefined
    expect(() =>
      defineWorkflow({
        inputs,
        outputs: {},
        // @ts-expect-error no input of that name
        facts: { titles: fact('titles', { by: 'film', fields: { genre: field('string') }, missing: 'refuse' }) },
        postprocess,
      }),
    ).toThrow("facts.titles: by 'film' is none of the inputs 'account', 'title', 'history', 'vector'")
    expect(() =>
      defineWorkflow({
        inputs,
        outputs: {},
        // @ts-expect-error a vector is no key
        facts: { titles: fact('titles', { by: 'vector', fields: { genre: field('string') }, missing: 'refuse' }) },
        postprocess,
      }),
    ).toThrow("facts.titles: by 'vector' is a f32")
    expect(() =>
      defineWorkflow({
        inputs,
        outputs: {},
        facts: {
          titles: fact('titles', {
            by: 'title',
            fields: { genre: field('string'), runtime: field('f32') },
            // @ts-expect-error one default is missing
            missing: { genre: '' },
          }),
        },
        postprocess,
      }),
    ).toThrow("facts.titles: no default for field 'runtime'")
    expect(() =>
      defineWorkflow({
        inputs,
        // @ts-expect-error lists of numbers are inputs only
        outputs: { ids: column('i32', { ragged: true }) },
        postprocess,
      }),
    ).toThrow("outputs.ids: a ragged output is 'string' or 'bytes'")
    // @ts-expect-error no such dtype
    expect(() => defineWorkflow({ inputs: { x: column('float') }, outputs: {}, postprocess })).toThrow("dtype 'float'")
    expect(() => defineWorkflow({ inputs, outputs: {} })).toThrow('a model, a preprocess or a postprocess')
    const score = (): void => undefined
    const models = { a: onnx('a.onnx') }
    expect(() => defineWorkflow({ inputs, outputs: {}, score })).toThrow('score runs models')
    expect(() => defineWorkflow({ inputs, outputs: {}, models })).toThrow('models are run by a score')
    expect(() => defineWorkflow({ inputs, outputs: {}, models: {}, score })).toThrow('models is empty')
    expect(() => defineWorkflow({ inputs, outputs: {}, models, score, postprocess })).toThrow('mixes them')
    expect(() => defineWorkflow({ inputs, outputs: {}, model: tfjs('m.json'), batch: { rowsMax: 0 } })).toThrow(
      'rowsMax',
    )
  })
})
