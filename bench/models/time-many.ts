/*
 * What an engine alone pays for hundreds of models: microseconds of CPU a row of 64 floats, in batches of 12 rows, which is
 * what a server's batches come to when 1,024 requests are in flight over 300 models that are as popular as 1/rank.
 *
 *   npx tsc -b libs/engine && npx jiti bench/models/time-many.ts
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom } from '@millrace/base'
import { engineFor, mlpGraph, writeOnnx } from '@millrace/engine'
import { mlpLayers } from '../workloads/network'
import { zipf } from '../workloads/workload'

const rows = 12
const runs = 20_000

async function main(folder: string): Promise<void> {
  const engine = await engineFor('onnx', []).create({ threads: 1, device: 'cpu' })
  const data = Float32Array.from({ length: 64 * rows }, (_, i) => (i % 17) / 17)
  const inputs = { features: { dtype: 'f32', shape: [rows, 64], data } } as const
  for (const count of [1, 10, 30, 100, 300]) {
    const models = await Promise.all(
      Array.from({ length: count }, (_, i) => {
        const path = join(folder, `${i}.onnx`)
        writeFileSync(path, writeOnnx(mlpGraph({ input: 'features', output: 'score', layers: mlpLayers(i + 1) })))
        return engine.load({ format: 'onnx', path })
      }),
    )
    const order = zipf(runs, count, seededRandom(300))
    for (const model of order.slice(0, runs / 4)) await models[model]!.run(inputs)
    const begun = process.cpuUsage()
    for (const model of order) await models[model]!.run(inputs)
    const { user, system } = process.cpuUsage(begun)
    console.log(`${count} models: ${((user + system) / runs / rows).toFixed(2)} us a row`)
    for (const model of models) model.dispose()
  }
}

const folder = mkdtempSync(join(tmpdir(), 'millrace-many-'))
void main(folder).finally(() => rmSync(folder, { recursive: true }))
