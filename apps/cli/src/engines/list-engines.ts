import { join } from 'node:path'
import { engines, findTensorflow, type EngineKind, type ModelFormat } from '@millrace/engine'
import { runTool } from './tools'
import type { DeviceTrial } from './try-devices'

export interface EngineRow {
  readonly name: string
  readonly formats: readonly ModelFormat[]
  /** Null where the engine is not here. */
  readonly version: string | null
  /** Each kind of device, tried with a model of one operation. */
  readonly devices: readonly DeviceTrial[]
  readonly note: string | null
  /** How it is installed; null where it is here. */
  readonly install: string | null
}

/** `try-devices.ts`, compiled: the same from `src` and from `dist`. */
export const trialScript = join(__dirname, '../../dist/engines/try-devices.js')

const trialMs = 60_000

/** What each engine says of itself, and which devices it computes on: tried, each engine in a process of its own. */
export function listEngines(env: NodeJS.ProcessEnv): Promise<EngineRow[]> {
  return Promise.all(engines.map((kind) => rowOf(kind, env)))
}

async function rowOf(kind: EngineKind, env: NodeJS.ProcessEnv): Promise<EngineRow> {
  const { name, formats } = kind
  const found = kind.probe()
  if (!found.available) return { name, formats, version: null, devices: [], note: found.reason, install: found.install }
  const devices = await tryDevices(name, env)
  return { name, formats, version: found.version, devices, note: noteOn(name, env), install: null }
}

function noteOn(name: string, env: NodeJS.ProcessEnv): string | null {
  if (name !== 'tensorflow') return null
  const install = findTensorflow(env)
  if ('reason' in install) return null
  return `${install.folder}${install.gpu ? ', with CUDA' : ', for the CPU; install tensorflow --gpu for CUDA'}`
}

async function tryDevices(engine: string, env: NodeJS.ProcessEnv): Promise<DeviceTrial[]> {
  try {
    const quiet = { ...env, TF_CPP_MIN_LOG_LEVEL: '3' }
    const output = await runTool(process.execPath, [trialScript, engine], {
      env: quiet,
      signal: AbortSignal.timeout(trialMs),
    })
    return JSON.parse(output.trim().split('\n').at(-1)!) as DeviceTrial[]
  } catch (error) {
    return [{ device: 'cpu', works: false, reason: (error as Error).message }]
  }
}
