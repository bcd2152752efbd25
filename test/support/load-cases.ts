import type { InputValue, OutputValue } from '@millrace/client'
import { runRepository } from '@millrace/workflow'
import type { Random } from './random'
import { fixtures } from './served'

/** What came back for a case, whichever way it went. Columns per request are lists of one; u64 is text. */
export interface Outcome {
  readonly code: string
  readonly outputs: Readonly<Record<string, readonly unknown[]>>
}

/** A request whose answer is known, in the client library's words and in the JSON twin's. */
export interface Case {
  readonly objective: string
  readonly inputs: Readonly<Record<string, InputValue>>
  readonly json: Readonly<Record<string, unknown>>
  readonly expected: Outcome
}

/** Of typed columns. */
export function plainOutputs(outputs: Readonly<Record<string, OutputValue>>): Outcome['outputs'] {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, column]) => [
      name,
      Array.from(column as ArrayLike<unknown>, (value) => (typeof value === 'bigint' ? String(value) : value)),
    ]),
  )
}

/** Of the JSON twin, whose u64 are numbers where they are exact. */
export function plainJson(objective: string, outputs: Readonly<Record<string, unknown>>): Outcome['outputs'] {
  const wide = objective === 'echo' ? ['id', 'owner', 'key'] : []
  return Object.fromEntries(
    Object.entries(outputs).map(([name, column]) => {
      const values: unknown[] = Array.isArray(column) ? column : [column]
      return [name, wide.includes(name) ? values.map(String) : values]
    }),
  )
}

export function echoCase(random: Random, rows: number): Case {
  const id = random.u64()
  const tag = random.text(12)
  const key = BigUint64Array.from({ length: rows }, () => random.u64())
  const text = Array.from({ length: rows }, () => random.text(20))
  return {
    objective: 'echo',
    inputs: { id: BigUint64Array.of(id), tag, key, text },
    json: { id: String(id), tag, key: Array.from(key, String), text },
    expected: {
      code: 'OK',
      outputs: {
        id: [String(id)],
        tag: [tag],
        owner: new Array<string>(rows).fill(String(id)),
        key: Array.from(key, String),
        text: text.map((one) => `${tag}/${one}`),
      },
    },
  }
}

export function crashCase(random: Random, how: 'none' | 'refuse', rows: number): Case {
  const value = Int32Array.from({ length: rows }, () => random.whole(-1e9, 1e9))
  return {
    objective: 'crash',
    inputs: { how, value },
    json: { how, value: [...value] },
    expected:
      how === 'none'
        ? { code: 'OK', outputs: { value: Array.from(value, (one) => one + 1) } }
        : { code: 'FAILED_PRECONDITION', outputs: {} },
  }
}

/** `batch_rows` is not among what is expected: it depends on who else was there. */
export function slowCase(random: Random, rows: number, msMax: number): Case {
  const ms = Float32Array.from({ length: rows }, () => random.next() * msMax)
  return {
    objective: 'slow',
    inputs: { ms },
    json: { ms: [...ms] },
    expected: { code: 'OK', outputs: { ms: [...ms] } },
  }
}

const elements = 3 * 224 * 224

export function imageCase(random: Random, rows: number): Case {
  const image = new Float32Array(rows * elements)
  const mean = Array.from({ length: rows }, (_, row) => {
    // Halves: their sum is exact in any order.
    const value = random.whole(-100, 100) / 2
    image.fill(value, row * elements, (row + 1) * elements)
    return value
  })
  return {
    objective: 'image',
    inputs: { image: { dtype: 'f32', values: image, shape: [3, 224, 224] } },
    json: { image: { base64: Buffer.from(image.buffer).toString('base64') } },
    expected: { code: 'OK', outputs: { mean } },
  }
}

/** Requests to the network with the scores of an offline run of the same rows. */
export async function mlpCases(random: Random, rowsOf: readonly number[]): Promise<Case[]> {
  const features = rowsOf.map((rows) => Float32Array.from({ length: rows * 64 }, () => random.next() * 4 - 2))
  const inputs = features.map((values) => ({ features: [...values] }))
  const answers = await runRepository(fixtures, 'mlp', 1, inputs)
  return answers.map((answer, i) => ({
    objective: 'mlp',
    inputs: { features: { dtype: 'f32', values: features[i]!, shape: [64] } },
    json: inputs[i]!,
    expected: { code: answer.code, outputs: plainJson('mlp', answer.outputs ?? {}) },
  }))
}

/** Numbers that a network computed may differ by `tolerance`, all else not at all. */
export function check(one: Case, outcome: Outcome, tolerance = 1e-6): void {
  const { expected, objective } = one
  if (outcome.code !== expected.code) throw new Error(`${objective}: ${outcome.code}, expected ${expected.code}`)
  for (const [name, values] of Object.entries(expected.outputs)) {
    const given = outcome.outputs[name] ?? []
    if (given.length !== values.length)
      throw new Error(`${objective}.${name}: ${given.length} values, expected ${values.length}`)
    const wrong = values.findIndex((value, i) =>
      objective === 'mlp' ? !(Math.abs((given[i] as number) - (value as number)) <= tolerance) : given[i] !== value,
    )
    if (wrong >= 0)
      throw new Error(`${objective}.${name}[${wrong}]: ${String(given[wrong])}, expected ${String(values[wrong])}`)
  }
}
