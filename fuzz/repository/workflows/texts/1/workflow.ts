import { attribute, column, defineWorkflow } from '@millrace/workflow'

/** Texts, bytes, lists and the context, as they came; lists as the bytes of their numbers. */
export default defineWorkflow({
  inputs: {
    tag: column('string', { per: 'request' }),
    text: column('string'),
    raw: column('bytes'),
    ids: column('i32', { ragged: true }),
    weights: column('f64', { ragged: true, per: 'request' }),
    key: column('u64'),
  },
  context: {
    country: attribute('text', { missing: 'none' }),
    age: attribute('number', { missing: -1 }),
    kids: attribute('truth', { missing: true }),
    traffic: attribute('text'),
  },
  outputs: {
    tag: column('bytes', { per: 'request' }),
    text: column('bytes'),
    raw: column('bytes'),
    ids: column('bytes'),
    weights: column('bytes', { per: 'request' }),
    key: column('u64'),
    country: column('bytes', { per: 'request' }),
    age: column('f64', { per: 'request' }),
    kids: column('bool', { per: 'request' }),
    traffic: column('bytes', { per: 'request' }),
  },
  postprocess({ rows, requests, inputs, context, outputs }) {
    outputs.key.set(inputs.key)
    outputs.age.set(context.age)
    outputs.kids.set(context.kids)
    for (let request = 0; request < requests; request++) {
      outputs.tag.set(request, inputs.tag.bytes(request))
      outputs.weights.set(request, inputs.weights.bytes.bytes(request))
      outputs.country.set(request, context.country.bytes(request))
      outputs.traffic.set(request, context.traffic.bytes(request))
    }
    for (let row = 0; row < rows; row++) {
      outputs.text.set(row, inputs.text.bytes(row))
      outputs.raw.set(row, inputs.raw.bytes(row))
      outputs.ids.set(row, inputs.ids.bytes.bytes(row))
    }
  },
})
