import {
  DType,
  dtypeBytes,
  elementsPerRow,
  Strings,
  trafficClasses,
  type ColumnSpec,
  type Signature,
} from '@millrace/base'
import { encodeRequest, raggedColumn, type OverrideMessage, type RequestMessage, type WireColumn } from '@millrace/wire'
import type { Random } from './random'

/* Requests that are right: every shape that there is, of the workflows in repository/. */

export const objectives = ['numbers', 'texts', 'parts'] as const
export type Objective = (typeof objectives)[number]

export type Signatures = Readonly<Record<Objective, Signature>>

export interface Valid {
  readonly objective: Objective
  readonly message: Uint8Array
}

/** A request of at most `bytesMax` bytes that is answered: with OK, unless it asks for what the rules refuse. */
export function validRequest(
  signatures: Signatures,
  random: Random,
  decision: Uint8Array | null,
  bytesMax: number,
): Valid {
  for (;;) {
    const valid = anyRequest(signatures, random, decision)
    if (valid.message.length <= bytesMax) return valid
  }
}

function anyRequest(signatures: Signatures, random: Random, decision: Uint8Array | null): Valid {
  const objective = random.pick(objectives)
  const { inputs } = signatures[objective]
  const rows = random.once(8) ? 1 + random.below(40) : 1 + random.below(4)
  const columns = inputs.map((spec) => inputOf(spec, spec.per === 'request' ? 1 : rows, random))
  // Clients may send them in any order.
  if (random.once(4)) columns.reverse()
  const request: RequestMessage = {
    id: random.u64(),
    objective,
    ...(random.once(3) && { subject: random.once(2) ? random.text(12) : random.u64() }),
    ...(random.once(2) && { context: contextOf(random) }),
    inputs: columns,
    ...(random.once(4) && { deadlineUs: 60_000_000 }),
    priority: random.once(4) ? 'bulk' : 'interactive',
    timings: random.once(4),
    dryRun: random.once(16),
    ...(random.once(16) && { override: overrideOf(objective, random) }),
  }
  // Of one subject, for one objective.
  const decided = decision !== null && objective === 'numbers' && request.override === undefined && random.once(4)
  return { objective, message: encoded(decided ? { ...request, decision, subject: 'account' } : request) }
}

/** Rules under which all of `validRequest` can be asked. */
export const rules = {
  attributes: { country: 'text', age: 'number' },
  objectives: Object.fromEntries(objectives.map((name) => [name, { default: `${name}@1` }])),
  conditions: [
    { id: 'here', objectives: ['texts'], when: { country: ['CH'], age: { from: 10 } }, workflow: 'texts@1' },
  ],
  experiments: objectives.map((name) => ({
    id: `experiment-${name}`,
    objectives: [name],
    cells: [
      { name: 'control', weight: 1, workflow: `${name}@1` },
      { name: 'treatment', weight: 1, workflow: `${name}@1` },
    ],
  })),
  overrides: [
    {
      id: 'grown',
      objectives,
      when: { age: { from: 10 } },
      workflows: objectives.map((name) => `${name}@1`),
      experiments: ['experiment-parts'],
    },
  ],
}

/** Some with two attributes of one name, which no object has. */
function encoded(request: RequestMessage): Uint8Array {
  const message = encodeRequest(request)
  const at = Buffer.from(message.buffer, message.byteOffset, message.length).indexOf(`${another}\0`)
  if (at > 0) message.set(Buffer.from('country'), at)
  return message
}

const another = 'countrz'

function overrideOf(workflow: Objective, random: Random): OverrideMessage {
  return random.pick([
    { workflow, version: 1 },
    { workflow, version: 9 },
    { cell: 'treatment' },
    { cell: 'control', experiment: 'experiment-parts' },
  ])
}

function contextOf(random: Random): NonNullable<RequestMessage['context']> {
  return {
    ...(random.once(2) && { country: random.once(2) ? 'CH' : random.text(9) }),
    ...(random.once(8) && { [another]: random.text(9) }),
    ...(random.once(2) && { age: random.once(2) ? 20 : random.u32() / 7 }),
    ...(random.once(2) && { kids: random.once(2) }),
    ...(random.once(3) && { tenant: random.text(4) }),
    ...(random.once(3) && { traffic: random.pick(trafficClasses) }),
    ...(random.once(3) && { [random.text(6)]: random.text(20) }),
  }
}

function inputOf(spec: ColumnSpec, rows: number, random: Random): WireColumn {
  const { name, dtype, shape } = spec
  const bytes = dtypeBytes[DType[dtype]]!
  if (!spec.ragged) {
    const data = random.bytes(rows * elementsPerRow(spec) * bytes)
    return { name, dtype, data, ...(random.once(2) && { shape: [rows, ...shape] }) }
  }
  const lengthMax = random.once(20) ? 600 : 9
  const value = (): Uint8Array => random.bytes(bytes * random.below(lengthMax))
  const column = raggedColumn(name, dtype, Strings.of(Array.from({ length: rows }, value)))
  const { shape: _, ...unsaid } = column
  return random.once(2) ? column : unsaid
}
