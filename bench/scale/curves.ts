import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeOnnx } from '@millrace/engine'
import { toServer, type Load } from '@millrace/load'
import { readTopology } from '@millrace/pool'
import { hashOf } from '../objective-hash'
import { makeRepository } from '../overload/repository'
import type { Options } from '../suite'
import { many } from '../workloads/many'
import { mlp, mlpRequest, requestsOfTraffic } from '../workloads/mlp'
import { writeTraffic, type Prepared } from '../workloads/workload'
import { measureCurve, type Curve, type Point } from './curve'

/** Enough in flight for full batches. */
const busy = { transport: 'websocket', sockets: 4, inFlight: 64 } as const
const repository = join(__dirname, '../../repository')

/** Sockets that share 256 requests in flight; above that many, each has one. */
export function socketsCurve(options: Options): Promise<Curve> {
  const all = options.smoke ? [1, 300] : [1, 4, 16, 64, 256, 1000, 4000, 10_000]
  return measureCurve('sockets', 'WebSockets', options, (folder) => {
    const { env, traffic } = mlp.prepare(folder) as Prepared
    return all.map((sockets): Point => {
      const inFlight = Math.max(1, Math.floor(256 / sockets))
      return { x: sockets, env, load: { transport: 'websocket', sockets, inFlight, traffic } }
    })
  })
}

/** Versions that a server has, asked for as 1/rank, by four WebSockets that have 256 requests in flight each. */
export function versionsCurve(options: Options): Promise<Curve> {
  const all = options.smoke ? [2] : [1, 10, 30, 100, 300, 500]
  return versionsBy('versions', { transport: 'websocket', sockets: 4, inFlight: 256 }, all, options)
}

/** The same by a thousand connections over HTTP, each of which waits for its answer. */
export function versionsHttpCurve(options: Options): Promise<Curve> {
  const all = options.smoke ? [2] : [1, 100, 300]
  return versionsBy('versions-http', { transport: 'http', sockets: 1000, inFlight: 1 }, all, options)
}

function versionsBy(
  name: string,
  how: Pick<Load, 'transport' | 'sockets' | 'inFlight'>,
  all: readonly number[],
  options: Options,
): Promise<Curve> {
  return measureCurve(name, 'models, popular as 1/rank', options, (folder) =>
    all.map((versions): Point => {
      const own = join(folder, String(versions))
      mkdirSync(own)
      const { env, traffic } = many(versions).prepare(own) as Prepared
      return { x: versions, env, load: { ...how, traffic } }
    }),
  )
}

/** Rules of a server: an objective and an experiment of it for each; one of the objectives is asked for. */
export function rulesCurve(options: Options): Promise<Curve> {
  const all = options.smoke ? [10] : [1, 10, 100, 1000, 10_000]
  return measureCurve('rules', 'objectives, each with an experiment of two cells', options, (folder) =>
    all.map((rules): Point => {
      const own = join(folder, String(rules))
      mkdirSync(own)
      cpSync(repository, own, { recursive: true })
      const names = Array.from({ length: rules }, (_, i) => (i === 0 ? 'mlp-64' : `objective-${i}`))
      const cells = ['control', 'treatment'].map((name) => ({ name, weight: 1, workflow: 'mlp-64@1' }))
      const file = {
        version: 1,
        objectives: Object.fromEntries(names.map((name) => [name, { default: 'mlp-64@1' }])),
        experiments: names.map((name) => ({ id: `of-${name}`, objectives: [name], cells })),
      }
      writeFileSync(join(own, 'rules.json'), JSON.stringify(file))
      const requests = Array.from({ length: requestsOfTraffic }, (_, i) => mlpRequest(names[i % names.length]!, i))
      return { x: rules, env: { MILLRACE_REPOSITORY: own }, load: { ...busy, traffic: writeTraffic(own, requests) } }
    }),
  )
}

/** Rows of a request, 64 floats each. */
export function rowsCurve(options: Options): Promise<Curve> {
  const all = options.smoke ? [1, 1000] : [1, 3, 10, 30, 100, 300, 1000]
  return measureCurve('rows', 'rows a request', options, (folder) => {
    const { env } = mlp.prepare(folder) as Prepared
    return all.map((rows): Point => {
      const own = join(folder, String(rows))
      mkdirSync(own)
      const requests = Array.from({ length: Math.ceil(4096 / rows) }, (_, i) => mlpRequest('mlp-64', i, rows))
      const load = { ...busy, inFlight: Math.max(2, Math.floor(64 / rows)), traffic: writeTraffic(own, requests) }
      return { x: rows, env, load }
    })
  })
}

/** Bytes of a row, to a network that takes their mean: what the road itself costs. */
export function payloadCurve(options: Options): Promise<Curve> {
  const all = options.smoke ? [64, 2 ** 20] : [64, 256, 1024, 4096, 16_384, 65_536, 262_144, 2 ** 20]
  return measureCurve('payload', 'bytes a request', options, (folder) => {
    const env = { MILLRACE_REPOSITORY: join(folder, 'repository') }
    for (const bytes of all) {
      const model = join(folder, 'repository/workflows', `bytes-${bytes}`, '1')
      mkdirSync(model, { recursive: true })
      writeFileSync(join(model, 'model.onnx'), meanOf(bytes))
    }
    return all.map((bytes): Point => {
      const own = join(folder, String(bytes))
      mkdirSync(own)
      const requests = Array.from({ length: Math.max(8, Math.min(1024, 2 ** 22 / bytes)) }, (_, i) => ({
        objectiveHash: hashOf(`bytes-${bytes}`),
        subject: `account-${i}`,
        inputs: [{ name: 'bytes', dtype: 'u8' as const, shape: [1, bytes], data: new Uint8Array(bytes).fill(i) }],
      }))
      const load = { ...busy, inFlight: bytes > 65_536 ? 2 : 16, traffic: writeTraffic(own, requests) }
      return { x: bytes, env, load }
    })
  })
}

function meanOf(bytes: number): Uint8Array {
  return writeOnnx({
    inputs: [{ name: 'bytes', dtype: 'u8', shape: ['N', bytes] }],
    outputs: [{ name: 'mean', dtype: 'f32', shape: ['N', 1] }],
    weights: {},
    nodes: [
      { op: 'Cast', inputs: ['bytes'], outputs: ['floats'], attributes: { to: { int: 1 } } },
      { op: 'ReduceMean', inputs: ['floats'], outputs: ['mean'], attributes: { axes: { ints: [1] } } },
    ],
  })
}

/**
 * Lanes, each with a core, of a network that is dear enough that its load needs next to nothing: what lanes bring where they do
 * not share cores with whoever asks.
 */
export function coresCurve(options: Options): Promise<Curve> {
  const cpus = readTopology().cpus.map(({ cpu }) => cpu)
  const all = Array.from({ length: options.smoke ? 1 : cpus.length }, (_, i) => i + 1)
  return measureCurve('cores', 'lanes, a core for each', options, (folder) => {
    const env = {
      MILLRACE_REPOSITORY: makeRepository(folder),
      MILLRACE_POOL_CPU_THREADS: '1',
      MILLRACE_OVERSUBSCRIBE: 'yes',
    }
    const requests = Array.from({ length: requestsOfTraffic }, (_, i) => mlpRequest('mlp-64', i))
    const load = { ...busy, sockets: 8, inFlight: 64, traffic: writeTraffic(folder, requests) }
    return all.map((lanes): Point => {
      const own = toServer({ server: cpus.slice(0, lanes), load: [] })
      return { x: lanes, env: { ...env, ...own, MILLRACE_LANES: String(lanes) }, load }
    })
  })
}

/** Lanes of a server. With the load beside it, more than the machine has cores for bring nothing. */
export function lanesCurve(options: Options, lanesMax: number): Promise<Curve> {
  const all = Array.from({ length: options.smoke ? 1 : lanesMax }, (_, i) => i + 1)
  return measureCurve('lanes', 'lanes', options, (folder) => {
    const { env, traffic } = mlp.prepare(folder) as Prepared
    return all.map((lanes): Point => {
      const own = { ...env, MILLRACE_LANES: String(lanes), MILLRACE_OVERSUBSCRIBE: 'yes' }
      return { x: lanes, env: own, load: { ...busy, sockets: 8, inFlight: 128, traffic } }
    })
  })
}
