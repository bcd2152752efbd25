/*
 * The figures of README.md: how far answers are from their references, and microseconds a row by the server's own
 * clock, the model alone and all of it (decoding included), in batches of 1 and of the most that the workflow takes.
 * Eight requests one at a time, each four times, of which the fastest counts; their mean.
 *
 *   npm run build && npx jiti test/models/measure.ts onnxruntime,tfjs
 *   npx jiti test/models/measure.ts tensorflow
 */
import type { VersionDescription } from '@millrace/workflow'
import { serve, stopServed } from '../support/served'
import { networks } from './networks'
import { prepare, repository } from './prepare'
import { difference, readReference } from './reference'
import { clientAnswers, clientInputs } from './rows'
import { serverVariables } from './suite'

/** Requests in a cycle, each from another row on, and how often. */
const cycle = 8
const passes = 4

async function measure(engines: string): Promise<void> {
  prepare()
  const served = await serve(serverVariables(engines), repository)
  const client = served.client()
  const { body } = await served.admin('GET', '/v1/workflows')
  const { workflows } = JSON.parse(body.toString('utf8')) as { workflows: VersionDescription[] }
  for (const network of networks) {
    const version = workflows.find(({ name }) => name === network.name)!
    if (version.state !== 'ready') continue
    const rows = await network.rows()
    const expected = readReference(network)
    let largest = 0
    const figures: string[] = []
    for (const size of new Set([1, version.batchRowsMax])) {
      const score = new Array<number>(cycle).fill(Infinity)
      const total = new Array<number>(cycle).fill(Infinity)
      for (let i = 0; i < cycle * passes; i++) {
        const begin = i % cycle
        const which = Array.from({ length: size }, (_, row) => (begin + row) % rows.length)
        const inputs = clientInputs(
          version.signature,
          which.map((row) => rows[row]!),
        )
        const { outputs, timings } = await client.score({
          objective: network.name,
          inputs,
          deadlineMs: 60_000,
          timings: true,
        })
        score[begin] = Math.min(score[begin]!, timings!.score / size)
        total[begin] = Math.min(total[begin]!, timings!.total / size)
        clientAnswers(outputs, size).forEach((answer, row) => {
          largest = Math.max(largest, difference(network, answer, expected[which[row]!]!))
        })
      }
      figures.push(`batch ${size}: ${digits(mean(score))} / ${digits(mean(total))} us`)
    }
    console.log(`${network.name}: difference ${largest.toExponential(1)}; ${figures.join('; ')}`)
  }
  await stopServed()
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function digits(n: number): string {
  return n < 10 ? n.toFixed(1) : n.toFixed(0)
}

void measure(process.argv[2] ?? 'onnxruntime,tfjs')
