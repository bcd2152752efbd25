import { column, defineWorkflow } from '@millrace/workflow'

/** Every dense dtype, as it came. Replies are patched into templates. */
const columns = {
  account: column('u64', { per: 'request' }),
  flags: column('bool', { per: 'request', shape: [3] }),
  f32: column('f32', { shape: [4] }),
  f64: column('f64'),
  i8: column('i8'),
  u8: column('u8', { shape: [2, 3] }),
  i16: column('i16'),
  u16: column('u16'),
  i32: column('i32'),
  u32: column('u32'),
  i64: column('i64'),
  u64: column('u64'),
}

export default defineWorkflow({
  inputs: columns,
  outputs: columns,
  postprocess({ inputs, outputs }) {
    for (const name in columns) outputs[name as 'i8'].set(inputs[name as 'i8'])
  },
})
