import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import { writeOnnx } from './onnx-file'

/*
 * What onnxruntime calls our devices, and what to do where one is not there. Measured with onnxruntime-node 1.30:
 *
 * - Its providers take little: `deviceId` for cuda; for webgpu no device number, it opens the first adapter that the
 *   system has. No provider takes a memory limit or an arena strategy through the package.
 * - webgpu keeps one context a process, without a lock: two threads end the process. One thread a lane, then.
 * - webgpu without an adapter throws, it does not compute on the CPU. Operations that it lacks do run on the CPU, as
 *   part of the session.
 */

/** As `executionProviders` of a session's options takes it. */
export interface Provider {
  readonly name: string
  readonly deviceId?: number
}

/**
 * @param device `cpu`, `cpu:0-3`, `cuda:0`, `webgpu:0`
 * @param known providers that the library was built with
 * @throws Refusal FAILED_PRECONDITION when the library cannot use such a device here
 */
export function providerOf(device: string, known: readonly string[]): Provider {
  const [name = '', number = '0'] = device.split(':')
  if (!known.includes(name)) throw no(`onnxruntime cannot use ${device} here; it can use ${known.join(', ')}`)
  if (name === 'webgpu' && number !== '0')
    throw no(`${device}: onnxruntime opens the first WebGPU adapter of the system, webgpu:0, and no other`)
  return name === 'cuda' ? { name, deviceId: Number(number) } : { name }
}

/** A model of one operation, to open a device with. */
export function smallestModel(): Uint8Array {
  const value = { dtype: 'f32' as const, shape: ['N', 1] }
  return writeOnnx({
    inputs: [{ name: 'x', ...value }],
    outputs: [{ name: 'y', ...value }],
    weights: {},
    nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'] }],
  })
}

export interface Missing {
  readonly reason: string
  readonly install: string
}

/** Why a device did not open, and what to do; `error` is the library's. `folder` has its shared objects. */
export function whatIsMissing(device: string, error: unknown, folder: string): Missing {
  const [said = ''] = (error instanceof Error ? error.message : String(error)).trim().split('\n')
  if (device.startsWith('webgpu') && said.includes('Failed to get a WebGPU adapter'))
    return {
      reason: `there is no WebGPU adapter for ${device}: no Vulkan driver was found`,
      install:
        'install libvulkan1 and the driver of the GPU; where it is not found by itself, VK_ICD_FILENAMES names it and ' +
        'LD_LIBRARY_PATH its folder, both before the start',
    }
  if (device.startsWith('cuda')) return cudaMissing(device, said, folder)
  return { reason: `${device} did not open: ${said}`, install: 'see what the library says' }
}

const cudaLibraries = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so']

function cudaMissing(device: string, said: string, folder: string): Missing {
  const missing = cudaLibraries.filter((name) => !existsSync(join(folder, name)))
  if (missing.length > 0)
    return {
      reason: `onnxruntime-node has no ${missing.join(' and no ')}, which ${device} needs`,
      install:
        'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12 fetches what the package ' +
        'leaves out; CUDA 12 and cuDNN 9 must be where the loader looks (LD_LIBRARY_PATH, before the start)',
    }
  return {
    reason: `onnxruntime did not open ${device}: ${said}`,
    install:
      'the driver of the GPU must be there, and CUDA 12 with cuDNN 9 where the loader looks (LD_LIBRARY_PATH, before ' +
      'the start)',
  }
}

function no(message: string): Refusal {
  return new Refusal(Code.FAILED_PRECONDITION, message)
}
