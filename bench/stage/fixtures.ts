import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Arena, type Signature } from '@millrace/base'
import { BatchQueue } from '@millrace/batch'
import { Decider } from '@millrace/client'
import { compileRules, parseRules, type Rules, type RulesFile, type Table } from '@millrace/rules'
import { encodeRequest, type ReplyMessage, type RequestMessage } from '@millrace/wire'
import { hashOf } from '../objective-hash'

/** The workflow of the benches: 64 floats in, one score out. */
export const signature: Signature = {
  inputs: [{ name: 'features', dtype: 'f32', per: 'row', shape: [64], ragged: false }],
  outputs: [{ name: 'score', dtype: 'f32', per: 'row', shape: [], ragged: false }],
}

/** What the workflow answers to one row. */
export const scored: ReplyMessage = {
  id: 7n,
  code: 'OK',
  message: '',
  route: { workflow: 'mlp-64', version: 1, rule: 'default', cell: null, rulesVersion: 1 },
  outputs: [{ name: 'score', dtype: 'f32', shape: [1], data: new Uint8Array(4) }],
  timings: null,
}

export const arena = new Arena(64 * 1024 * 1024, 4096)

export function queueOf(): BatchQueue {
  return new BatchQueue(arena, {
    id: 0,
    signature,
    rowsMax: 512,
    queueRowsMax: 65536,
    slabBytesMax: 16 * 1024 * 1024,
    stringBytesPerRow: 64,
    waitUs: 0,
  })
}

/** As the road reads it: at the begin of a buffer of its own. */
export function message(
  objective = 'mlp-64',
  decision?: Uint8Array,
  context?: RequestMessage['context'],
): Uint8Array<ArrayBuffer> {
  const features = Float32Array.from({ length: 64 }, (_, i) => i / 64)
  const inputs = [{ name: 'features', dtype: 'f32', shape: [1, 64], data: new Uint8Array(features.buffer) }] as const
  return new Uint8Array(
    encodeRequest({ id: 7n, objectiveHash: hashOf(objective), subject: 'account-42', decision, context, inputs }),
  )
}

/** A table of `objectives` objectives, each with an experiment of two cells when asked. */
export function tableOf(objectives: number, experiments: boolean): Table {
  const names = Array.from({ length: objectives }, (_, i) => (i === 0 ? 'mlp-64' : `objective-${i}`))
  const rules: Rules = {
    objectives: Object.fromEntries(names.map((name) => [name, { default: 'mlp-64@1' }])),
    ...(experiments
      ? {
          experiments: names.map((name) => ({
            id: `experiment-${name}`,
            objectives: [name],
            cells: [
              { name: 'control', weight: 1, workflow: 'mlp-64@1' },
              { name: 'treatment', weight: 1, workflow: 'mlp-64@1' },
            ],
          })),
        }
      : {}),
  }
  return compileRules(rules, [{ name: 'mlp-64', version: 1 }], 1)
}

const objectives = ['mlp-64']
const workflow = 'mlp-64@1'

/** An objective with ten rules, of which the last one before its default decides for `asked`. */
export function tableOfTen(): Table {
  return tableBy({
    attributes: { country: 'text', age: 'number', kids: 'truth' },
    objectives: { 'mlp-64': { default: workflow } },
    conditions: Array.from({ length: 5 }, (_, i) => ({
      id: `condition-${i}`,
      objectives,
      when: { country: ['US', 'CA', 'DE'], age: { from: 100 + i }, kids: false },
      workflow,
    })),
    experiments: Array.from({ length: 3 }, (_, i) => ({
      id: `experiment-${i}`,
      objectives,
      group: { name: 'group', from: i, to: i + 1 },
      cells: [{ name: 'all', weight: 1, workflow }],
    })),
    canaries: [{ id: 'canary', objectives, workflow, percent: 99 }],
  })
}

/** An objective with three conditions, an experiment and a canary, all of which `asked` passes by. */
export const rulesOfFive: RulesFile = {
  attributes: { country: 'text', device: 'text', age: 'number' },
  objectives: { 'mlp-64': { default: workflow } },
  conditions: [
    { id: 'south', objectives, when: { country: ['FR', 'ES', 'IT'] }, workflow },
    { id: 'large-screen', objectives, when: { device: ['tv', 'console'], country: { not_in: ['US'] } }, workflow },
    { id: 'kids', objectives, when: { age: { below: 13 } }, workflow },
  ],
  experiments: [{ id: 'experiment', objectives, percent: 0.001, cells: [{ name: 'new', weight: 1, workflow }] }],
  canaries: [{ id: 'canary', objectives, workflow, percent: 0.001 }],
}

export function tableBy(rules: RulesFile): Table {
  return compileRules(parseRules(rules), [{ name: 'mlp-64', version: 1 }], 1)
}

/** A client that has the rules from its file, and no server. */
export async function deciderBy(rules: RulesFile): Promise<Decider> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-decider-'))
  const file = join(folder, 'rules.json')
  writeFileSync(file, JSON.stringify({ rules_version: 1, rules, heard: Date.now() }))
  try {
    return await Decider.open({ url: 'http://127.0.0.1:1', file, timeoutMs: 100 })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export const askedRequest = {
  objective: 'mlp-64',
  subject: 'account-42',
  context: { country: 'DE', device: 'phone', age: 30, kids: false },
}
