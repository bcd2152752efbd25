import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '@millrace/base'
import { mlpGraph, writeOnnx } from '@millrace/engine'
import { mlpRequest, requestsOfTraffic } from './mlp'
import { mlpLayers } from './network'
import { writeTraffic, zipf, type Workload } from './workload'

/** Hundreds of models: the network of `mlp` with weights of its own in each, and requests for them by Zipf's law. */
export function many(versions: number): Workload {
  return {
    name: `many-${versions}`,
    about: `64 floats to one score, ${versions} models, popular as 1/rank`,
    prepare: (folder) => {
      const repository = writeModels(folder, versions)
      const drawn = zipf(requestsOfTraffic * 4, versions, seededRandom(300))
      return {
        env: { MILLRACE_REPOSITORY: repository, MILLRACE_START_TIMEOUT_MS: '600000' },
        traffic: writeTraffic(
          folder,
          drawn.map((model, i) => mlpRequest(nameOf(model), i)),
        ),
      }
    },
  }
}

function writeModels(folder: string, versions: number): string {
  for (let i = 0; i < versions; i++) {
    const model = join(folder, 'repository/workflows', nameOf(i), '1')
    mkdirSync(model, { recursive: true })
    const bytes = writeOnnx(mlpGraph({ input: 'features', output: 'score', layers: mlpLayers(i + 1) }))
    writeFileSync(join(model, 'model.onnx'), bytes)
  }
  return join(folder, 'repository')
}

function nameOf(model: number): string {
  return `model-${String(model).padStart(3, '0')}`
}
