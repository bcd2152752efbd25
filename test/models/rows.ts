import type { InputValue } from '@millrace/client'
import type { LoadedVersion, OfflineAnswer } from '@millrace/workflow'

/** One row: text, bytes of a file, or the numbers of a dense column. */
export type Value = string | Buffer | Float32Array | Int32Array
export type Row = Readonly<Record<string, Value>>

export type Signature = LoadedVersion['signature']

/** Output columns of one row, each as plain values in row-major order. */
export type Answer = Readonly<Record<string, readonly (number | string)[]>>

/** A request of `rows` as the client library takes it. */
export function clientInputs(signature: Signature, rows: readonly Row[]): Record<string, InputValue> {
  return Object.fromEntries(
    signature.inputs.map(({ name, dtype, shape }) => {
      const values = rows.map((row) => row[name]!)
      if (typeof values[0] === 'string') return [name, values as string[]]
      if (Buffer.isBuffer(values[0])) return [name, values as Buffer[]]
      return [name, { dtype, shape, values: (values as Float32Array[]).flatMap((row) => [...row]) }]
    }),
  )
}

/** A request of one row as JSON. */
export function jsonInputs(row: Row): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      if (typeof value === 'string') return [name, [value]]
      if (Buffer.isBuffer(value)) return [name, [value.toString('base64')]]
      return [name, { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }]
    }),
  )
}

/** The answer to a request of one row. Throws when it is a refusal. */
export function offlineAnswer(answer: OfflineAnswer): Answer {
  if (answer.code !== 'OK') throw new Error(`${answer.code}: ${answer.message}`)
  return Object.fromEntries(
    Object.entries(answer.outputs).map(([name, values]) => [name, (values as unknown[]).flat(Infinity) as number[]]),
  )
}

/** Answers by row of what the client library returned for `rows` rows. */
export function clientAnswers(outputs: Readonly<Record<string, ArrayLike<unknown>>>, rows: number): Answer[] {
  return Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(
      Object.entries(outputs).map(([name, values]) => {
        const width = values.length / rows
        return [name, Array.from({ length: width }, (_, i) => values[row * width + i] as number | string)]
      }),
    ),
  )
}
