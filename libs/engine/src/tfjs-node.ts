import { createRequire } from 'node:module'
import { join } from 'node:path'
import util from 'node:util'
import type { TensorflowInstall } from './tensorflow-home'
import type { TfjsLibrary } from './tfjs-library'

let loaded: TfjsLibrary | null = null

/**
 * TFJS with tfjs-node's backend, which runs a model operation by operation. Its packages are the install's own. Once
 * a thread.
 */
export function loadTfjsNode(home: TensorflowInstall): TfjsLibrary {
  if (loaded !== null) return loaded
  // tfjs-node calls what Node 22 warns of and Node 23 took away.
  Object.assign(util, {
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
    isArray: (value: unknown) => Array.isArray(value),
  })
  // All copies of TFJS share one state, the active backend among it, on the global object, which they look for once,
  // as `window` first. This one gets an object of its own: the tfjs engine may be in the same thread.
  const scope = globalThis as { window?: unknown }
  const before = scope.window
  scope.window = {}
  try {
    loaded = requireAll(home)
  } finally {
    if (before === undefined) delete scope.window
    else scope.window = before
  }
  loaded.core.enableProdMode()
  return loaded
}

function requireAll(home: TensorflowInstall): TfjsLibrary {
  const packages = createRequire(join(home.packages, 'package.json'))
  packages('@tensorflow/tfjs-node')
  const union = createRequire(createRequire(packages.resolve('@tensorflow/tfjs-node')).resolve('@tensorflow/tfjs'))
  return {
    core: union('@tensorflow/tfjs-core') as TfjsLibrary['core'],
    layers: union('@tensorflow/tfjs-layers') as TfjsLibrary['layers'],
    converter: union('@tensorflow/tfjs-converter') as TfjsLibrary['converter'],
  }
}
