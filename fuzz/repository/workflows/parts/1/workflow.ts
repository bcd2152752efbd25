import { column, defineWorkflow } from '@millrace/workflow'

/** Batches of four rows: most requests go over several and are put together again. */
export default defineWorkflow({
  inputs: { name: column('string', { per: 'request' }), text: column('string'), count: column('u16') },
  outputs: { name: column('bytes', { per: 'request' }), text: column('bytes'), count: column('u16') },
  batch: { rowsMax: 4 },
  postprocess({ rows, requests, inputs, outputs }) {
    outputs.count.set(inputs.count)
    for (let request = 0; request < requests; request++) outputs.name.set(request, inputs.name.bytes(request))
    for (let row = 0; row < rows; row++) outputs.text.set(row, inputs.text.bytes(row))
  },
})
