import { configProto } from './tensorflow-proto'
import { configOf } from './tensorflow-session'

/** As TensorFlow reads it. */
const read = (options: Parameters<typeof configOf>[0]): unknown =>
  configProto.toObject(configProto.decode(configProto.encode(configProto.fromObject(configOf(options))).finish()))

test('on the CPU no GPU is touched; on a GPU memory is taken as it is needed, up to the limit', () => {
  const threads = { intraOpParallelismThreads: 2, interOpParallelismThreads: -1 }
  expect(read({ threads: 2, device: 'cpu' })).toEqual({ ...threads, deviceCount: { GPU: 0 } })
  expect(read({ threads: 2, device: 'cuda:0' })).toMatchObject({ ...threads, gpuOptions: { allowGrowth: true } })
  expect(read({ threads: 2, device: 'cuda:0', memoryBytes: 3 * 2 ** 30 })).toMatchObject({
    gpuOptions: { allowGrowth: true, experimental: { virtualDevices: [{ memoryLimitMb: [3072] }] } },
  })
})
