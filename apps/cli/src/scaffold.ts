import type { ModelFormat } from '@millrace/engine'
import type { Probe, ProbedTensor } from './probe-model'

/** The workflow file of a model: its tensors are the columns, to be changed by hand. */
export function modelWorkflow(format: ModelFormat, path: string, probe: Probe): string {
  const word = { onnx: 'onnx', tfjs: 'tfjs', savedmodel: 'savedModel' }[format]
  const { inputs, outputs, rowsMax } = probe
  return `import { column, defineWorkflow, ${word} } from '@millrace/workflow'

/** Columns are the model's tensors, one row each, until you say otherwise. */
export default defineWorkflow({
  inputs: ${object(columns(inputs), 2)},
  outputs: ${object(columns(outputs), 2)},
  model: ${word}('${path}', {
    inputs: ${object(dtypes(inputs), 4)},
    outputs: ${object(dtypes(outputs), 4)},
  }),
${rowsMax === null ? '' : '  // The model takes one row at a time.\n  batch: { rowsMax: 1 },\n'}
  /** Columns to model inputs, the whole batch at a time. */
  preprocess({ ${inputs.some(({ column }) => column !== null) ? 'rows, inputs' : 'rows: _'} }, into) {
${inputs.map(give).join('\n')}
  },

  /** Model outputs to columns, the whole batch at a time. */
  postprocess({ ${outputs.some(isText) ? 'rows, ' : ''}outputs }, from) {
${outputs.flatMap(take).join('\n')}
  },
})
`
}

/** A workflow without a model. */
export const plainWorkflow = `import { column, defineWorkflow } from '@millrace/workflow'

/** An example without a model: prices with tax. */
export default defineWorkflow({
  inputs: { rate: column('f32', { per: 'request' }), price: column('f32') },
  outputs: { total: column('f32') },

  /** Columns to columns, the whole batch at a time: the rows of many requests, with \`requestOf\` from row to request. */
  postprocess({ rows, requestOf, inputs, outputs }) {
    for (let row = 0; row < rows; row++) outputs.total[row] = inputs.price[row]! * (1 + inputs.rate[requestOf[row]!]!)
  },
})
`

/** A request for it. */
export const plainInputs = { rate: 0.25, price: [4, 8] }

function columns(tensors: readonly ProbedTensor[]): [string, string][] {
  return tensors.flatMap(({ column }) =>
    column === null
      ? []
      : [
          [
            column.name,
            `column('${column.dtype}'${column.shape.length > 0 ? `, { shape: [${column.shape.join(', ')}] }` : ''})`,
          ],
        ],
  )
}

function dtypes(tensors: readonly ProbedTensor[]): [string, string][] {
  return tensors.map(({ spec }) => [spec.name, `'${spec.dtype}'`])
}

function give({ spec, inner, column }: ProbedTensor): string {
  const into = `into${member(spec.name)}`
  if (column !== null) return `    ${into}([${['rows', ...inner].join(', ')}], inputs${member(column.name)})`
  return `    ${into}([]${spec.dtype === 'string' ? ", ['']" : ''}) // one value for the whole batch: zero, until you say otherwise`
}

function take(tensor: ProbedTensor): string[] {
  const { spec, column } = tensor
  const from = `from${member(spec.name)}`
  if (column === null) return [`    // ${from} is not by row: no column can be it as it is.`]
  const into = `outputs${member(column.name)}`
  return isText(tensor)
    ? [`    for (let row = 0; row < rows; row++) ${into}.set(row, ${from}.data.bytes(row))`]
    : [`    ${into}.set(${from}.data)`]
}

function isText({ column }: ProbedTensor): boolean {
  return column?.dtype === 'string'
}

function object(entries: readonly [string, string][], indent: number): string {
  const parts = entries.map(([name, value]) => `${key(name)}: ${value}`)
  const line = `{ ${parts.join(', ')} }`
  if (line.length < 90) return line
  const space = ' '.repeat(indent)
  return `{\n${parts.map((part) => `${space}  ${part},\n`).join('')}${space}}`
}

function key(name: string): string {
  return isIdentifier(name) ? name : quoted(name)
}

function member(name: string): string {
  return isIdentifier(name) ? `.${name}` : `[${quoted(name)}]`
}

function quoted(name: string): string {
  return `'${name.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

function isIdentifier(name: string): boolean {
  return /^[A-Za-z_$][\w$]*$/.test(name)
}
