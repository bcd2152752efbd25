import { join } from 'node:path'
import { hashOf } from '../objective-hash'
import { writeTraffic, type Workload } from './workload'
import type { RequestMessage, WireColumn } from '@millrace/wire'

/** Different requests of a workload: enough that nothing is answered twice in a row from a cache. */
export const requestsOfTraffic = 4096

/** 64 floats a row, which differ from request to request. */
export function featuresOf(seed: number, rows = 1): WireColumn {
  const features = Float32Array.from({ length: 64 * rows }, (_, f) => Math.sin(seed * 7 + f))
  return { name: 'features', dtype: 'f32', shape: [rows, 64], data: new Uint8Array(features.buffer) }
}

export function mlpRequest(objective: string, i: number, rows = 1): RequestMessage {
  return { objectiveHash: hashOf(objective), subject: `account-${i}`, inputs: [featuresOf(i, rows)] }
}

/** The network that most figures are of, in ONNX. */
export const mlp: Workload = {
  name: 'mlp',
  about: '64 floats to one score, ONNX',
  prepare: (folder) => ({
    env: { MILLRACE_REPOSITORY: join(__dirname, '../../repository') },
    traffic: writeTraffic(
      folder,
      Array.from({ length: requestsOfTraffic }, (_, i) => mlpRequest('mlp-64', i)),
    ),
  }),
}
