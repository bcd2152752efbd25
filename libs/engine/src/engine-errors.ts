/*
 * What a library says when it runs out of memory or loses its device, as errors of ours: a batch that is too large
 * runs again in halves, and a thread without its device ends and is replaced. Both are known by their name, since
 * errors cross realms; what wraps them keeps them as its `cause`.
 */

/** A batch or a model did not fit the memory of its device: a smaller one may. */
export class OutOfMemory extends Error {
  override readonly name = 'OutOfMemory'
}

/** The device is gone for this process's thread: nothing that is loaded on it runs again. */
export class DeviceLost extends Error {
  override readonly name = 'DeviceLost'
}

const memoryPatterns = [
  // onnxruntime: its arena on any device, and the allocator under it.
  /Failed to allocate memory for requested buffer/,
  /BFC ?Arena ran out of memory/,
  /std::bad_alloc/,
  // webgpu: a buffer that cannot be, one that could not be made, and tensors that no binding or dispatch can cover.
  /Buffer size \(\d+\) exceeds the max buffer size limit/,
  /VK_ERROR_OUT_OF_(DEVICE|HOST)_MEMORY/,
  /\[Invalid Buffer\b/,
  /exceeds the WebGPU supported maximum/,
  /Too many storage buffers in shader/,
  /narrowing_error/,
  // cuda
  /CUDA(_ERROR_OUT_OF_MEMORY| failure 2\b)|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED/,
  // tensorflow
  /RESOURCE_EXHAUSTED|Resource exhausted|OOM when allocating/,
  // JavaScript and wasm
  /Array buffer allocation failed|Invalid typed array length|Aborted\(OOM\)/,
  /\bout of memory\b/i,
]

const lostPatterns = [
  /device (is |was )?lost/i,
  /VK_ERROR_DEVICE_LOST/,
  /cudaErrorIllegalAddress|an illegal memory access was encountered|unspecified launch failure|device-side assert/,
  /CUDA failure (700|702|710|719)\b/,
]

/** The error of a library, or under a name of ours, and shorter, where it says that the device's memory or the device itself is gone. */
export function engineError(error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error)
  const lost = said(message, lostPatterns)
  if (lost !== null) return new DeviceLost(lost, { cause: error })
  const memory = said(message, memoryPatterns)
  if (memory !== null) return new OutOfMemory(memory, { cause: error })
  return error instanceof Error ? error : new Error(message)
}

/** The line of a message from where a pattern begins: libraries put their source files and stacks around it. */
function said(message: string, patterns: readonly RegExp[]): string | null {
  for (const pattern of patterns) {
    const found = pattern.exec(message)
    if (found !== null) return message.slice(found.index).split('\n')[0]!.trim()
  }
  return null
}

export function isOutOfMemory(error: unknown): boolean {
  return isNamed(error, 'OutOfMemory')
}

export function isDeviceLost(error: unknown): boolean {
  return isNamed(error, 'DeviceLost')
}

function isNamed(error: unknown, name: string): boolean {
  for (let at = error as { name?: unknown; cause?: unknown } | null | undefined, depth = 0; depth < 8; depth++) {
    if (typeof at !== 'object' || at === null) return false
    if (at.name === name) return true
    at = at.cause as typeof at
  }
  return false
}
