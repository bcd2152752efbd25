import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import type { Availability, Engine, EngineKind, EngineOptions, ModelFile } from './engine'
import { loadTfjs, type TfjsLibrary } from './tfjs-library'
import { loadTfjsModel } from './tfjs-model'

/** TFJS graph and layers models on the wasm backend: needs no native library, one thread, CPU. */
export const tfjs: EngineKind = {
  name: 'tfjs',
  formats: ['tfjs'],
  probe,
  create: createEngine,
}

const packages = ['core', 'layers', 'converter', 'backend-wasm', 'backend-cpu'].map(
  (name) => `@tensorflow/tfjs-${name}`,
)

function probe(): Availability {
  const here = createRequire(__filename)
  const missing = packages.filter((name) => !canResolve(here, name))
  if (missing.length > 0)
    return {
      available: false,
      reason: `not installed: ${missing.join(', ')}`,
      install: `npm install ${missing.map((name) => `${name}@4.22.0`).join(' ')}`,
    }
  const manifest = join(dirname(here.resolve('@tensorflow/tfjs-backend-wasm')), '..', 'package.json')
  return { available: true, version: (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version }
}

function canResolve(here: NodeJS.Require, name: string): boolean {
  try {
    here.resolve(name)
    return true
  } catch {
    return false
  }
}

/** One a thread: TFJS keeps its backend and its tensors in the module. */
let library: Promise<TfjsLibrary> | null = null

async function createEngine(options: EngineOptions): Promise<Engine> {
  const found = probe()
  if (!found.available) throw new Refusal(Code.FAILED_PRECONDITION, `${found.reason}: ${found.install}`)
  if (!options.device.startsWith('cpu'))
    throw new Refusal(Code.FAILED_PRECONDITION, `the tfjs engine computes on the cpu, not on ${options.device}`)
  library ??= loadTfjs()
  const tf = await library
  return {
    name: 'tfjs',
    load: (file: ModelFile) => loadTfjsModel(tf, file),
    dispose: () => undefined,
  }
}
