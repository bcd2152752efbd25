import { createRequire } from 'node:module'
import { dirname, sep } from 'node:path'
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm'
import type * as Converter from '@tensorflow/tfjs-converter'
import type * as Core from '@tensorflow/tfjs-core'
import type * as Layers from '@tensorflow/tfjs-layers'

/** TFJS, loaded and ready on the wasm backend. */
export interface TfjsLibrary {
  readonly core: typeof Core
  readonly layers: typeof Layers
  readonly converter: typeof Converter
}

/** Loads TFJS into this thread. */
export async function loadTfjs(): Promise<TfjsLibrary> {
  const here = createRequire(__filename)
  const core = here('@tensorflow/tfjs-core') as typeof Core
  // Silences the greeting that recommends a native library; also skips checks for development.
  core.enableProdMode()
  const wasm = here('@tensorflow/tfjs-backend-wasm') as typeof import('@tensorflow/tfjs-backend-wasm')
  here('@tensorflow/tfjs-backend-cpu')
  const layers = here('@tensorflow/tfjs-layers') as typeof Layers
  const converter = here('@tensorflow/tfjs-converter') as typeof Converter
  wasm.setWasmPaths(dirname(here.resolve('@tensorflow/tfjs-backend-wasm')) + sep)
  const keep = processListeners()
  if (!(await core.setBackend('wasm'))) throw new Error('the wasm backend of TFJS did not start')
  keep.restore()
  registerCpuKernels(core)
  correctCast(core)
  return { core, layers, converter }
}

/**
 * The wasm loader adds handlers that rethrow every uncaught exception and rejection of the process. What to do
 * with those is not a model's business: take them off again.
 */
function processListeners(): { restore(): void } {
  const events = ['uncaughtException', 'unhandledRejection'] as const
  const before = events.map((event) => new Set<unknown>(process.listeners(event as 'uncaughtException')))
  return {
    restore: () =>
      events.forEach((event, i) => {
        for (const listener of process.listeners(event as 'uncaughtException'))
          if (!before[i]!.has(listener)) process.off(event, listener)
      }),
  }
}

/** The part of the cpu backend that the bridge uses. */
interface CpuBackend {
  makeTensorInfo(shape: number[], dtype: Core.DataType, values: Core.backend_util.BackendValues): Core.TensorInfo
  readSync(dataId: object): Core.backend_util.BackendValues
  disposeData(dataId: object, force?: boolean): boolean
}

/**
 * Lets the wasm backend run the operations that only the JavaScript backend has: inputs are copied over, the
 * kernel runs there, outputs are copied back. Slow for large tensors, right for all; the alternative is a
 * model that does not run.
 */
function registerCpuKernels(core: typeof Core): void {
  const cpu = core.findBackend('cpu') as unknown as CpuBackend
  for (const { kernelName, kernelFunc } of core.getKernelsForBackend('cpu')) {
    if (core.getKernel(kernelName, 'wasm') !== undefined) continue
    core.registerKernel({
      kernelName,
      backendName: 'wasm',
      kernelFunc: ({ inputs, attrs, backend }) =>
        runOnCpu(kernelName, kernelFunc, cpu, backend as BackendWasm, inputs, attrs),
    })
  }
}

/** The wasm backend truncates what it casts to bool, so that 0.5 is false; to TensorFlow everything but 0 is true. */
function correctCast(core: typeof Core): void {
  const { kernelFunc } = core.getKernel('Cast', 'wasm')
  core.unregisterKernel('Cast', 'wasm')
  core.registerKernel({
    kernelName: 'Cast',
    backendName: 'wasm',
    kernelFunc: (call) => {
      if (call.attrs?.['dtype'] !== 'bool') return kernelFunc(call)
      const x = call.inputs['x']!
      const wasm = call.backend as BackendWasm
      const out = wasm.makeOutput(x.shape, 'bool')
      const [from, to] = [wasm.typedArrayFromHeap(x), wasm.typedArrayFromHeap(out)]
      for (let i = 0; i < from.length; i++) to[i] = from[i] === 0 ? 0 : 1
      return out
    },
  })
}

type MaybeMany = Core.TensorInfo | Core.TensorInfo[] | null | undefined

function runOnCpu(
  kernelName: string,
  kernelFunc: Core.KernelFunc,
  cpu: CpuBackend,
  wasm: BackendWasm,
  inputs: Core.NamedTensorInfoMap,
  attrs: Core.NamedAttrMap | undefined,
): Core.TensorInfo | Core.TensorInfo[] {
  const taken: object[] = []
  const toCpu = (info: Core.TensorInfo): Core.TensorInfo => {
    refuseComplex(kernelName, info)
    const copy = cpu.makeTensorInfo(info.shape, info.dtype, wasm.readSync(info.dataId as object))
    taken.push(copy.dataId as object)
    return copy
  }
  const toWasm = (info: Core.TensorInfo): Core.TensorInfo => {
    taken.push(info.dataId as object)
    refuseComplex(kernelName, info)
    const dataId = wasm.write(cpu.readSync(info.dataId as object), info.shape, info.dtype)
    return { dataId, shape: info.shape, dtype: info.dtype }
  }
  try {
    // Some operations pass their inputs as a list rather than by name.
    const copies = (Array.isArray(inputs) ? [] : {}) as Record<string, MaybeMany>
    for (const [name, value] of Object.entries(inputs as Record<string, MaybeMany>))
      copies[name] = Array.isArray(value) ? value.map(toCpu) : value ? toCpu(value) : value
    const outputs = kernelFunc({
      inputs: copies as unknown as Core.NamedTensorInfoMap,
      backend: cpu,
      ...(attrs ? { attrs } : {}),
    })
    return Array.isArray(outputs) ? outputs.map(toWasm) : toWasm(outputs)
  } finally {
    // An output may be an input by another name; disposing twice does no harm.
    for (const dataId of new Set(taken)) cpu.disposeData(dataId, true)
  }
}

function refuseComplex(kernelName: string, info: Core.TensorInfo): void {
  if (info.dtype === 'complex64')
    throw new Error(`operation ${kernelName} works on complex numbers, which the tfjs engine does not run`)
}
