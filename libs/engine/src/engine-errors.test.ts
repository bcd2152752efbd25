import { engineError, isDeviceLost, isOutOfMemory } from './engine-errors'

// As the libraries say it: onnxruntime-node 1.30 on cpu and on webgpu, its CUDA sources, TensorFlow's kernels.
test.each([
  "Non-zero status code returned while running Mul node. Name:'' Status Message: bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 281474976710656",
  'BFC Arena ran out of memory trying to allocate 1073741824. Already allocated: 0, Max size: 1048576',
  'std::bad_alloc',
  'WebGPU validation failed. Buffer size (8589934592) exceeds the max buffer size limit (1073741824).',
  'WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.',
  'CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; expr=cudaMalloc((void**)&p, size);',
  'ResourceExhaustedError: OOM when allocating tensor with shape[512,1073741824]',
  'Array buffer allocation failed',
])('out of memory: %s', (message) => {
  const error = engineError(new Error(message))
  expect([error.name, isOutOfMemory(error), isDeviceLost(error)]).toEqual(['OutOfMemory', true, false])
  expect(message).toContain(error.message)
  expect((error.cause as Error).message).toBe(message)
})

test('says what matters of what the library says', () => {
  const message =
    "Non-zero status code while running Mul node. Name:'' a.cc:360 Failed to allocate memory for requested buffer of size 9\n\n"
  expect(engineError(new Error(message)).message).toBe('Failed to allocate memory for requested buffer of size 9')
})

test.each([
  'WebGPU device lost (1): the driver reset the device',
  'VK_ERROR_DEVICE_LOST',
  'CUDA failure 700: an illegal memory access was encountered ; GPU=0',
])('device lost: %s', (message) => {
  const error = engineError(new Error(message))
  expect([error.name, isOutOfMemory(error), isDeviceLost(error)]).toEqual(['DeviceLost', false, true])
})

test('anything else stays what it is, also what is no Error', () => {
  const error = new TypeError('input `x` is missing')
  expect(engineError(error)).toBe(error)
  expect(engineError('gone').message).toBe('gone')
})

test('is known through what wraps it, and in other realms', () => {
  const wrapped = new Error('model a', { cause: new Error('b', { cause: engineError(new Error('std::bad_alloc')) }) })
  expect(isOutOfMemory(wrapped)).toBe(true)
  expect(isOutOfMemory({ name: 'OutOfMemory', message: 'x' })).toBe(true)
  for (const other of [undefined, null, 'OutOfMemory', new Error('x')]) expect(isOutOfMemory(other)).toBe(false)
})
